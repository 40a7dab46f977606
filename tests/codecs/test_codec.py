import re

import pytest
import torch

from intaglio.codecs import AudioCodec, Tokens
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.fsq import FSQ


@pytest.mark.parametrize(
    ("samples", "positions"), [(1, 1), (19, 1), (20, 1), (21, 2), (203, 11), (400, 20)]
)
def test_positions_and_samples_at_every_kind_of_length(tiny_codec, samples, positions):
    wave = torch.randn(1, 1, samples)
    tokens = tiny_codec.encode(wave)
    assert tokens.ids.shape == (1, positions, 1)
    assert tokens.ids.dtype == torch.int64
    assert tiny_codec.decode(tokens).shape == wave.shape


def test_a_batch_equals_its_items(tiny_codec):
    lengths = torch.tensor([400, 399, 203, 21, 3, 1])
    wave = torch.randn(6, 1, 400)
    batch = tiny_codec.encode(wave, lengths)
    decoded = tiny_codec.decode(batch)
    for item, length in enumerate(lengths.tolist()):
        single = tiny_codec.encode(wave[item : item + 1, :, :length])
        positions = single.ids.shape[1]
        assert torch.equal(batch.ids[item, :positions], single.ids[0])
        assert batch.mask[item].tolist() == [True] * positions + [False] * (20 - positions)
        alone = tiny_codec.decode(single)[0]
        torch.testing.assert_close(decoded[item, :, :length], alone, atol=1e-5, rtol=0)
        assert not decoded[item, :, length:].any()


def test_what_lies_behind_an_item_has_no_influence(tiny_codec):
    wave = torch.randn(2, 1, 400)
    lengths = torch.tensor([400, 170])
    tokens = tiny_codec.encode(wave, lengths)
    wave[1, :, 170:] = 1e3
    assert torch.equal(tiny_codec.encode(wave, lengths).ids, tokens.ids)
    garbage = tokens.ids.clone()
    garbage[1, 9:] = 17
    assert torch.equal(tiny_codec.decode(tokens._replace(ids=garbage)), tiny_codec.decode(tokens))


def test_rates(tiny_codec):
    assert tiny_codec.frame_rate == 50
    assert tiny_codec.vocab == (64,)
    assert tiny_codec.bits_per_second == 300


def test_encoding_leaves_the_mode_and_the_state_alone(tiny_codec):
    tiny_codec.train()
    tiny_codec.encoder.eval()
    before = {name: value.clone() for name, value in tiny_codec.state_dict().items()}
    tokens = tiny_codec.encode(torch.randn(1, 1, 300))
    assert not tiny_codec.decode(tokens).requires_grad
    assert tiny_codec.training
    assert tiny_codec.decoder.training
    assert not tiny_codec.encoder.training
    for name, value in tiny_codec.state_dict().items():
        assert torch.equal(before[name], value), name


def test_the_training_pass_reaches_the_encoder(tiny_codec):
    output = tiny_codec.train()(torch.randn(2, 1, 333))
    assert output.values.shape == (2, 1, 333)
    output.values.square().mean().backward()
    gradient = tiny_codec.encoder.stem.conv.parametrizations.weight.original1.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("wave", "lengths", "reason"),
    [
        (torch.randn(1, 300), None, r"\[1, 300\]"),
        (torch.randn(1, 2, 300), None, r"\[1, 2, 300\]"),
        (torch.zeros(1, 1, 300, dtype=torch.int16), None, "int16"),
        (torch.randn(1, 1, 0), None, "nothing to encode"),
        (torch.randn(2, 1, 300), torch.tensor([300]), r"\[2\]"),
        (torch.randn(1, 1, 300), torch.tensor([301]), "300"),
        (torch.randn(1, 1, 300), torch.tensor([0]), "0 to 0"),
    ],
)
def test_wrong_input_is_refused_with_its_numbers(tiny_codec, wave, lengths, reason):
    with pytest.raises(ValueError, match=reason):
        tiny_codec.encode(wave, lengths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.numpy(), " as a torch.Tensor, got numpy.ndarray float32 [2, 1, 300]"),
        (lambda x: x.tolist(), " as a torch.Tensor, got list"),
        (lambda x: x.transpose(1, 2), ", got float32 [2, 300, 1]"),
        (lambda x: x.expand(2, 2, 300), ", got float32 [2, 2, 300]"),
        (lambda x: x.double(), " of float32 like its weights, got float64 [2, 1, 300]"),
        (lambda x: x.bfloat16(), " of float32 like its weights, got bfloat16 [2, 1, 300]"),
        (lambda x: x.to("meta"), " on cpu, got one on meta"),
    ],
)
def test_what_is_no_wave_of_the_codec_is_refused_in_one_line(tiny_codec, change, message):
    wave = change(torch.randn(2, 1, 300))
    for take in (tiny_codec, tiny_codec.encode, lambda x: list(tiny_codec.encode_blocks([x]))):
        with pytest.raises((TypeError, ValueError)) as caught:
            take(wave)
        expected = f"tiny takes floating-point waveforms [batch, 1, samples]{message}"
        assert str(caught.value) == expected


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_wave_that_is_not_finite_has_no_tokens(tiny_codec, value):
    wave = torch.randn(2, 1, 300)
    wave[1, 0, 7] = value
    for take in (tiny_codec.encode, lambda x: list(tiny_codec.encode_blocks([x]))):
        with pytest.raises(ValueError, match=rf"finite values, got {value} at \[1, 0, 7\]"):
            take(wave)


def test_autocast_takes_what_it_converts(tiny_codec):
    wave = torch.randn(1, 1, 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tiny_codec.encode(wave).ids.shape == tiny_codec.encode(wave.bfloat16()).ids.shape
        with pytest.raises(ValueError, match="float32 like its weights, got float64"):
            tiny_codec.encode(wave.double())


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([300], r"integer \[1\] as a torch.Tensor, got list"),
        (torch.tensor([300.0]), r"integer \[1\], got float32 \[1\]"),
        (torch.tensor([True]), r"integer \[1\], got bool \[1\]"),
    ],
)
def test_lengths_that_are_no_integers_are_refused(tiny_codec, lengths, message):
    wave = torch.randn(1, 1, 300)
    with pytest.raises((TypeError, ValueError), match=message):
        tiny_codec.encode(wave, lengths)
    tokens = tiny_codec.encode(wave)._replace(lengths=lengths)
    with pytest.raises((TypeError, ValueError), match=r"lengths .* got"):
        tiny_codec.decode(tokens)


def test_what_are_no_tokens_is_refused_in_one_line(tiny_codec):
    tokens = tiny_codec.encode(torch.randn(2, 1, 100))
    cases = {
        "decodes Tokens, got int64 [2, 5, 1]": tokens.ids,
        "ids of tokens must be a torch.Tensor, got numpy.ndarray int64 [2, 5, 1]": tokens._replace(
            ids=tokens.ids.numpy()
        ),
        "mask of tokens must be a torch.Tensor, got NoneType": tokens._replace(mask=None),
        "int64 [batch, positions, groups], got int32 [2, 5, 1]": tokens._replace(
            ids=tokens.ids.int()
        ),
        "nothing to decode in ids of shape [2, 0, 1]": tokens._replace(
            ids=tokens.ids[:, :0], mask=tokens.mask[:, :0], lengths=None
        ),
        "nothing to decode in ids of shape [0, 5, 1]": tokens._replace(
            ids=tokens.ids[:0], mask=tokens.mask[:0], lengths=None
        ),
    }
    for message, wrong in cases.items():
        with pytest.raises((TypeError, ValueError), match=re.escape(message)) as caught:
            tiny_codec.decode(wrong)
        assert "\n" not in str(caught.value)


def test_tokens_of_another_vocabulary_are_refused(tiny_codec):
    tokens = tiny_codec.encode(torch.randn(1, 1, 100))
    with pytest.raises(ValueError, match="vocabulary"):
        tiny_codec.decode(Tokens(tokens.ids, tokens.mask, (65,)))


def test_parts_that_do_not_fit_are_refused():
    encoder = SEANetEncoder(8, (2, 2), width=2, lstm_layers=0)
    decoder = VocosDecoder(8, 32, intermediate=32, num_layers=1, hop_length=4, n_fft=16)
    with pytest.raises(ValueError, match="quantizer 9"):
        AudioCodec(encoder, FSQ(9), decoder, sample_rate=100)
    with pytest.raises(ValueError, match="encoder 6, decoder 4"):
        AudioCodec(
            SEANetEncoder(8, (3, 2), width=2, lstm_layers=0), FSQ(8), decoder, sample_rate=100
        )


def test_ids_behind_the_end_count_for_nothing_even_out_of_range(tiny_codec):
    tokens = tiny_codec.encode(torch.randn(2, 1, 200), torch.tensor([200, 90]))
    ids = torch.where(tokens.mask.unsqueeze(-1), tokens.ids, 10_000)
    decoded = tiny_codec.decode(tokens._replace(ids=ids))
    assert torch.equal(decoded, tiny_codec.decode(tokens))
