"""SNAC compared with its authors' package at random weights: the same codes, the same samples."""

from collections.abc import Callable

import pytest
import torch

from intaglio.codecs.audio.snac import SIZES
from intaglio.export.converters.snac import convert

snac = pytest.importorskip("snac")
pytestmark = pytest.mark.parity


def their_model(sample_rate: int) -> torch.nn.Module:
    strides, level_strides, width, decoder_width, window = SIZES[sample_rate]
    return snac.SNAC(
        sampling_rate=sample_rate,
        encoder_dim=width,
        encoder_rates=list(strides),
        decoder_dim=decoder_width,
        decoder_rates=list(strides)[::-1],
        attn_window_size=window,
        vq_strides=list(level_strides),
    ).eval()


@pytest.mark.parametrize("sample_rate", [24_000, 32_000, 44_100])
def test_codes_and_samples_equal_the_release(
    sample_rate: int, monkeypatch: pytest.MonkeyPatch, same_codes: Callable[..., bool]
) -> None:
    theirs = their_model(sample_rate)
    ours = convert(theirs.state_dict(), sample_rate)
    _, strides, _, _, window = SIZES[sample_rate]
    positions = 8 if window is None else 2 * window // strides[0]
    wave = 0.3 * torch.randn(1, 1, positions * ours.hop_length)
    with torch.no_grad():
        codes = theirs.encode(wave)
        noises = iter(ours.decoder.noises)

        def ours_in_turn(size: tuple[int, ...], **_: object) -> torch.Tensor:
            return next(noises).table[: size[2]][None, None]

        # theirs draws its noise anew each time; here it gets ours
        monkeypatch.setattr(torch, "randn", ours_in_turn)
        decoded = theirs.decode(codes)
    tokens = ours.encode(wave)
    levels = zip(codes, strides, strict=True)
    ids = torch.cat([level.unflatten(1, (-1, strides[0] // n)) for level, n in levels], 2)
    assert same_codes(tokens.ids, ids)
    assert (ours.decode(tokens._replace(ids=ids)) - decoded).abs().max() < 1e-4
    assert decoded.std() > 1e-3
