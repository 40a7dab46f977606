import pytest
import torch

from intaglio.codecs.image.wetok import wetok


@pytest.fixture
def codec():
    torch.manual_seed(0)
    return wetok(2, size="small")


def test_it_keeps_the_contract(keeps_the_contract, codec):
    keeps_the_contract(codec)


@pytest.mark.parametrize(
    ("groups", "downsample", "parameters", "ratio"),
    [
        (4, 16, 460_589_091, 192),
        (8, 8, 448_995_651, 24),
        (4, 8, 448_176_419, 48),
        (4, 32, 1_673_678_883, 768),
    ],
)
def test_sizes_and_compression(bare, count, groups, downsample, parameters, ratio):
    assert count(lambda: wetok(groups, downsample)) == parameters
    codec = bare(lambda: wetok(groups, downsample))
    assert 24 * 256**2 / codec.bits == ratio  # of 8-bit pixels of three colours


def test_noise_has_no_effect_before_it_is_trained(codec):
    tokens = codec.encode(torch.rand(1, 3, 64, 64))
    assert torch.equal(codec.decode(tokens, seed=1), codec.decode(tokens, seed=2))
    with torch.no_grad():
        codec.decoder.conv_noise.weight.normal_(std=0.1)
    pictures = [codec.decode(tokens, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.allclose(pictures[0], pictures[2], atol=1e-3)


def test_the_noise_of_an_item_does_not_depend_on_its_neighbours(codec):
    with torch.no_grad():
        codec.decoder.conv_noise.weight.normal_(std=0.1)
    tokens = codec.encode(torch.rand(1, 3, 64, 64))
    twice = tokens._replace(ids=tokens.ids.repeat(2, 1, 1), mask=tokens.mask.repeat(2, 1))
    both = codec.decode(twice)
    torch.testing.assert_close(both[1:], codec.decode(tokens), atol=1e-5, rtol=0)


def test_another_downsampling_is_refused():
    with pytest.raises(ValueError, match="32, 16 or 8, not 4"):
        wetok(4, 4)
