import pytest
import torch

from intaglio.codecs.audio.wavtokenizer import wavtokenizer


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module", params=[75, 40])
def codec(request):
    torch.manual_seed(0)
    built = wavtokenizer(request.param).eval()
    built.quantizer.codebook.normal_(std=0.05)
    return built


def test_parameters_are_the_published_ones(codec):
    """Encoder, backbone and head of the release, without the decoder that it never calls."""
    rate = round(codec.frame_rate)
    head = count(codec.decoder.head)
    assert count(codec.encoder) == {75: 8_802_816, 40: 8_303_104}[rate]
    assert count(codec.decoder) - head == 61_961_472
    assert head == {75: 985_858, 40: 1_847_138}[rate]
    assert codec.quantizer.codebook.shape == (4096, 512)


def test_rates_are_the_published_ones(codec):
    rate = round(codec.frame_rate)
    assert codec.sample_rate == 24_000
    assert codec.hop_length == {75: 320, 40: 600}[rate]
    assert codec.bits_per_second == {75: 900, 40: 480}[rate]
    assert codec.decoder.head.inverse.basis.shape[-1] == 4 * codec.hop_length


def test_lengths_come_back_and_a_batch_equals_its_items(codec):
    hop = codec.hop_length
    lengths = torch.tensor([1, hop - 1, hop, hop + 1, 10 * hop + 3])
    wave = 0.1 * torch.randn(len(lengths), 1, int(lengths.max()))
    batch = codec.encode(wave, lengths)
    decoded = codec.decode(batch)
    for item, length in enumerate(lengths.tolist()):
        single = codec.encode(wave[item : item + 1, :, :length])
        assert single.ids.shape[1] == -(-length // hop)
        assert torch.equal(batch.ids[item, : single.ids.shape[1]], single.ids[0])
        alone = codec.decode(single)[0]
        assert alone.shape == (1, length)
        torch.testing.assert_close(decoded[item, :, :length], alone, atol=1e-5, rtol=0)


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="40 or 75, not 50"):
        wavtokenizer(50)
