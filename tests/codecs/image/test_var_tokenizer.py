from intaglio.codecs.image.var_tokenizer import var_tokenizer


def test_it_keeps_the_contract(keeps_the_contract):
    keeps_the_contract(var_tokenizer(64, size="small"))


def test_sizes(count):
    assert count(var_tokenizer) == 108_929_859
    codec = var_tokenizer(64, size="small")
    assert codec.positions == 1 + 4 + 9 + 16 + 36 + 64
    assert not codec.any_size
