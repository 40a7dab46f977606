"""DAC compared with transformers' at random weights: the same codes, the same samples."""

from collections.abc import Callable

import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio import dac
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.export.converters.dac import convert

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

MODELS = {44_100: ([2, 4, 8, 8], 9), 24_000: ([2, 4, 5, 8], 32), 16_000: ([2, 4, 5, 8], 12)}
HOPS = {44_100: 12, 24_000: 30, 16_000: 25}  # of a test signal
LOST = {44_100: 0, 24_000: 8, 16_000: 8}  # samples that theirs loses at the end


PUBLISHED = (64, 1536)  # channels of the first layer of the encoder and of the decoder
NARROW = (16, 384)


def their_model(sample_rate: int, widths: tuple[int, int] = NARROW) -> torch.nn.Module:
    ratios, codebooks = MODELS[sample_rate]
    config = transformers.DacConfig(
        sampling_rate=sample_rate,
        downsampling_ratios=ratios,
        n_codebooks=codebooks,
        encoder_hidden_size=widths[0],
        decoder_hidden_size=widths[1],
    )
    return transformers.DacModel(config).eval()


def our_codec(
    state: dict[str, torch.Tensor], sample_rate: int, widths: tuple[int, int] = NARROW
) -> AudioCodec:
    def with_width(part: Callable[..., torch.nn.Module], channels: int) -> Callable[..., object]:
        return lambda *sizes, width: part(*sizes, width=channels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dac, "DIM", 16 * widths[0])
        patch.setattr(dac, "DACEncoder", with_width(DACEncoder, widths[0]))
        patch.setattr(dac, "DACDecoder", with_width(DACDecoder, widths[1]))
        return convert(state, sample_rate)


def released_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Transformers' tensors under the names of the authors' files, with weight normalisation."""
    ends = {"conv1": "0", "snake1": "5", "conv2": "6"}
    units = {"snake1": "0", "conv1": "1", "snake2": "2", "conv2": "3"}
    released = {}
    for name, tensor in state.items():
        part, *rest = name.split(".")
        body = {"encoder": "encoder.block", "decoder": "decoder.model"}.get(part, part)
        if part == "quantizer":
            new = name
        elif rest[0] != "block":
            new = f"{body}.{ends[rest[0]]}.{rest[1]}"
        else:
            stage = f"{body}.{int(rest[1]) + 1}.block"
            if rest[2].startswith("res_unit"):
                first = 0 if part == "encoder" else 2
                unit = first + int(rest[2][-1]) - 1
                new = f"{stage}.{unit}.block.{units[rest[3]]}.{rest[4]}"
            else:
                numbers = {"snake1": "3", "conv1": "4"} if part == "encoder" else {}
                new = f"{stage}.{({'snake1': '0', 'conv_t1': '1'} | numbers)[rest[2]]}.{rest[3]}"
        if new.endswith(".weight") and "codebook" not in new:
            size = 2 * tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.dim() - 1))
            released[f"{new}_g"], released[f"{new}_v"] = size / 2, 3 * tensor
        else:
            released[new] = tensor
    return released


@pytest.mark.parametrize(
    ("sample_rate", "hops", "widths"),
    [
        *[(rate, hops, NARROW) for rate, hops in HOPS.items()],
        *[pytest.param(*item, PUBLISHED, marks=pytest.mark.slow) for item in HOPS.items()],
    ],
)
def test_codes_and_samples_equal_transformers(
    sample_rate: int,
    hops: int,
    widths: tuple[int, int],
    same_codes: Callable[..., bool],
) -> None:
    theirs = their_model(sample_rate, widths)
    ours = our_codec(theirs.state_dict(), sample_rate, widths)
    samples = hops * ours.hop_length
    wave = 0.3 * torch.randn(2, 1, samples)
    with torch.no_grad():
        coded = theirs.encode(wave)
        decoded = theirs.decode(audio_codes=coded.audio_codes).audio_values
    tokens, codes = ours.encode(wave), coded.audio_codes.transpose(1, 2)
    assert same_codes(tokens.ids, codes)
    lost = LOST[sample_rate]
    assert decoded.shape[-1] == samples - lost
    mine = ours.decode(tokens._replace(ids=codes))[:, 0]
    # what theirs loses at the end is missing from the sight of the samples before it, too
    inner = samples if lost == 0 else samples - 6_000
    error = (mine[:, :inner] - decoded[:, :inner]).abs().max()
    assert error < 1e-4 and error < 1e-2 * decoded.std()


def test_fewer_levels_are_their_fewer_quantizers(same_codes: Callable[..., bool]) -> None:
    theirs = their_model(16_000)
    ours = our_codec(theirs.state_dict(), 16_000)
    wave = 0.3 * torch.randn(1, 1, 3_200)
    with torch.no_grad():
        codes = theirs.encode(wave, n_quantizers=3).audio_codes
    assert same_codes(ours.encode(wave, levels=3).ids, codes.transpose(1, 2))


def test_the_authors_names_mean_the_same() -> None:
    state = their_model(16_000).state_dict()
    one, two = (our_codec(s, 16_000).state_dict() for s in (state, released_names(state)))
    assert all(torch.allclose(one[name], two[name], atol=1e-7) for name in one)


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="these are not the weights of dac"):
        our_codec({"a.weight": torch.zeros(3)}, 44_100)
