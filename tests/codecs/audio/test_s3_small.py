"""s3_small: size, rates, and the recogniser with and without tokens."""

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.audio.s3_small import DIM, s3_small
from intaglio.codecs.bundle import save
from intaglio.codecs.quantizers.continuous import IdentityBottleneck


@pytest.mark.parametrize("rate", [25, 50])
def test_rate_size_and_tokens_of_a_batch(rate, tmp_path):
    torch.manual_seed(0)
    codec = s3_small(rate).eval()
    assert (codec.sample_rate, codec.frame_rate, codec.vocab) == (16_000, rate, (6561,))
    assert sum(p.numel() for p in codec.parameters()) < 8e6
    save(codec, tmp_path / "s3_small")
    loaded = load(tmp_path / "s3_small")
    wave, lengths = 0.1 * torch.randn(2, 1, 4000), torch.tensor([2001, 4000])
    loaded.encoder.double()
    batch = loaded.encode(wave.double(), lengths)
    single = loaded.encode(wave[:1, :, :2001].double())
    assert torch.equal(batch.ids[:1, : single.ids.shape[1]], single.ids)
    with pytest.raises(ValueError, match="only encodes"):
        loaded.decode(batch)


def test_it_is_blanked_in_training_only():
    torch.manual_seed(0)
    encoder = s3_small().encoder
    wave = torch.randn(1, 1, 8000)
    assert not torch.equal(encoder(wave), encoder(wave))
    encoder.eval()
    assert torch.equal(encoder(wave), encoder(wave))


def test_without_tokens_it_is_a_recogniser():
    codec = s3_small(quantizer=IdentityBottleneck(DIM))
    assert codec.vocab == () and codec.losses == {"ctc", "attention"}


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="25 or 50, not 12"):
        s3_small(12)
