"""Drawn tokens as what their codec makes of them: sequences of any length as waveforms."""

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.detokenize import audio_of, check_codec
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance
from intaglio.generators.samplers.sampler import Sampler


@pytest.fixture
def generator(tiny_codec):
    torch.manual_seed(0)
    first, *others = tiny_codec.vocab
    backbone = Backbone(
        (12,),
        IdEmbedding(tiny_codec.vocab, 16),
        ClassCondition(2),
        Transformer(16, 1, 2),
        rotary="line",
    )
    head = CategoricalHead(16, (first + 1, *others))
    generator = Generator(backbone, head, RasterOrder(), end_of_sequence=True)
    torch.nn.init.normal_(head.linear.weight, std=0.5)
    return generator.eval()


def test_sequences_are_decoded_up_to_their_end(generator, tiny_codec):
    check_codec(generator, tiny_codec)
    tokens = torch.randint(0, tiny_codec.vocab[0], (3, 9, len(tiny_codec.vocab)))
    mask = torch.arange(9) < torch.tensor([[4], [9], [1]])
    waves, lengths = audio_of(generator, tiny_codec, tokens, mask)
    hop = tiny_codec.hop_length
    assert lengths.tolist() == [4 * hop, 9 * hop, hop] and waves.shape[-1] == 9 * hop
    for row, length in enumerate([4, 9, 1]):
        alone, (samples,) = audio_of(generator, tiny_codec, tokens[row : row + 1, :length])
        assert alone.shape[-1] == samples == length * hop
        torch.testing.assert_close(waves[row, :, : length * hop], alone[0], atol=1e-5, rtol=1e-4)
        assert not waves[row, :, length * hop :].any()


def test_drawn_sequences_become_waveforms(generator, tiny_codec):
    drawn = Sampler().generate_sequences(generator, torch.tensor([0, 1, -1, 0]), seed=2)
    waves, lengths = audio_of(generator, tiny_codec, *drawn)
    assert torch.equal(lengths, drawn.mask.sum(1) * tiny_codec.hop_length)
    assert waves.shape[-1] == int(lengths.max()) and waves.isfinite().all()


def test_another_codec_is_refused(generator, tiny_codec):
    generator.provenance = Provenance("other", "0" * 32)
    with pytest.raises(ValueError, match="draws tokens of other 000000000000, not of"):
        check_codec(generator, tiny_codec)
