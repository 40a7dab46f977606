import pytest

from intaglio.codecs.image.vqgan import vqgan


def test_it_keeps_the_contract(keeps_the_contract):
    keeps_the_contract(vqgan(codebook_size=64, size="small"))


@pytest.mark.parametrize(
    ("downsample", "parameters", "positions"), [(16, 71_883_403, 256), (8, 70_109_835, 1024)]
)
def test_sizes_are_the_published_ones(bare, count, downsample, parameters, positions):
    """LlamaGen names 72 and 70 million."""
    assert count(lambda: vqgan(downsample)) == parameters
    codec = bare(lambda: vqgan(downsample))
    assert (codec.positions, codec.hop_length) == (positions, downsample)
    assert vqgan(codebook_size=64, size="small").positions == 64


def test_another_downsampling_is_refused():
    with pytest.raises(ValueError, match="16 or 8, not 4"):
        vqgan(4)
