"""Two encoders side by side: their latents, block by block too, and what does not fit."""

import pytest
import torch

from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.encoders.dual import DualEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder


def seanet(dim, strides=(4, 5), **changes):
    return SEANetEncoder(
        dim, strides, width=4, lstm_layers=0, **({"pad_mode": "constant"} | changes)
    )


@torch.no_grad()
def test_latents_of_the_first_come_before_those_of_the_second():
    encoder = DualEncoder(seanet(6), DACEncoder(10, (4, 5), width=4)).eval()
    wave, lengths = torch.randn(2, 1, 130), torch.tensor([130, 61])
    halves = encoder.semantic(wave, lengths), encoder.acoustic(wave, lengths)
    assert torch.equal(encoder(wave, lengths), torch.cat(halves, dim=-1))
    assert (encoder.dim, encoder.hop_length, encoder(wave).shape) == (16, 20, (2, 7, 16))


@torch.no_grad()
def test_block_by_block_the_faster_waits_for_the_other():
    """One looks ahead, the other does not."""
    encoder = DualEncoder(seanet(6, causal=True), DACEncoder(10, (4, 5), width=4)).eval().double()
    wave = torch.randn(1, 1, 1303, dtype=torch.float64)
    stream, given = encoder.stream(), []
    for block in wave.split(97, dim=-1):
        given.append(stream.push(block))
    given.append(stream.push(wave[..., :0], last=True))
    latents = torch.cat(given, dim=-1).transpose(1, 2)
    torch.testing.assert_close(latents, encoder(wave))


def test_it_is_causal_if_both_are():
    both = seanet(4, causal=True), seanet(4, causal=True, pad_mode="reflect")
    encoder = DualEncoder(*both)
    assert encoder.causal and encoder.first_latents == both[1].first_latents > 1
    assert not DualEncoder(both[0], seanet(4)).causal


def test_without_the_streams_of_both_there_is_none():
    assert DualEncoder(seanet(4), seanet(4, norm="group")).stream() is None


def test_encoders_of_two_rates_are_refused():
    with pytest.raises(ValueError, match=r"one hop length .* got \(20, 1\) and \(10, 1\)"):
        DualEncoder(seanet(4), seanet(4, (2, 5)))
