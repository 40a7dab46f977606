import pytest

from intaglio.codecs.image.magvit2 import magvit2


def test_it_keeps_the_contract(keeps_the_contract):
    keeps_the_contract(magvit2(bits=10, size="small"))


def test_sizes(count):
    assert count(magvit2) == 115_127_829
    assert magvit2(bits=10, size="small").vocab == (1024,)


def test_another_downsampling_is_refused():
    with pytest.raises(ValueError, match="16 or 8, not 32"):
        magvit2(32)
