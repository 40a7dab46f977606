import copy

import pytest
import torch
from torch import nn

from intaglio.codecs import bundle, codec
from intaglio.codecs.folding import fold


@pytest.fixture
def hashings(monkeypatch) -> list[int]:
    """Grows by one element each time that weights are hashed."""
    done: list[int] = []

    def counted(part):
        done.append(1)
        return bundle.fingerprint(part)

    monkeypatch.setattr(codec, "fingerprint", counted)
    return done


def test_weights_of_a_codec_in_evaluation_mode_are_hashed_once(tiny_codec, hashings):
    first = tiny_codec.fingerprint
    tiny_codec.decode(tiny_codec.encode(torch.randn(1, 1, 100)))
    assert tiny_codec.fingerprint == first == bundle.fingerprint(tiny_codec)
    assert len(hashings) == 1


def test_a_codec_in_training_mode_is_hashed_each_time(tiny_codec, hashings):
    assert tiny_codec.train().fingerprint == tiny_codec.fingerprint
    assert len(hashings) == 2


def change_in_place(codec):
    with torch.no_grad():
        codec.decoder.head.out.bias[3].add_(1e-3)


def change_under_inference_mode(codec):
    with torch.inference_mode():
        codec.decoder.head.out.bias.add_(1e-3)


def copy_a_buffer(codec):
    codec.quantizer.codebook.copy_(torch.randn(64, 8))


def load_weights(codec, assign=False):
    state = {name: value.clone() for name, value in codec.state_dict().items()}
    state["decoder.head.out.bias"] += 1
    codec.load_state_dict(state, assign=assign)


def load_other_tensors(codec):
    load_weights(codec, assign=True)


def replace_a_parameter(codec):
    size = codec.decoder.head.out.bias.shape
    del codec.decoder.head.out.bias  # the new one may get its memory
    codec.decoder.head.out.bias = nn.Parameter(torch.randn(size))


def replace_the_data(codec):
    codec.decoder.head.out.bias.data = torch.randn_like(codec.decoder.head.out.bias)


def step(codec):
    optimizer = torch.optim.AdamW(codec.decoder.parameters(), lr=1e-3)
    codec(torch.randn(1, 1, 300)).values.square().mean().backward()
    optimizer.step()


def step_at_once(codec):
    """A fused optimizer does not count as a change of its tensors."""
    optimizer = torch.optim.AdamW(codec.decoder.parameters(), lr=1e-3, fused=True)
    codec(torch.randn(1, 1, 300)).values.square().mean().backward()
    optimizer.step()


def change_the_data(codec):
    codec.decoder.head.out.bias.data.add_(1e-3)


def change_the_array(codec):
    codec.decoder.head.out.bias.detach().numpy()[3] += 1e-3


def convert(codec):
    codec.double()


def change_an_argument(codec):
    codec.init_args = {**codec.init_args, "sample_rate": 2000}


def change_an_argument_of_a_part(codec):
    codec.quantizer.init_args["decay"] = 0.5


@pytest.mark.parametrize(
    "change",
    [
        change_in_place,
        change_under_inference_mode,
        copy_a_buffer,
        load_weights,
        load_other_tensors,
        replace_a_parameter,
        replace_the_data,
        step,
        step_at_once,
        change_the_data,
        change_the_array,
        convert,
        change_an_argument,
        change_an_argument_of_a_part,
    ],
)
def test_every_change_gives_another_fingerprint(tiny_codec, hashings, change):
    before = tiny_codec.fingerprint
    change(tiny_codec)
    assert tiny_codec.fingerprint == bundle.fingerprint(tiny_codec) != before
    assert len(hashings) == 2


def test_copies_do_not_share_their_fingerprint(tiny_codec):
    before = tiny_codec.fingerprint
    for other in (copy.deepcopy(tiny_codec), copy.copy(tiny_codec)):
        assert other.fingerprint == before
    other = copy.deepcopy(tiny_codec)
    change_in_place(other)
    assert other.fingerprint != before == tiny_codec.fingerprint


def test_folding_keeps_the_fingerprint(tiny_codec, hashings):
    before = tiny_codec.fingerprint
    fold(tiny_codec)
    assert tiny_codec.fingerprint == before
    assert len(hashings) == 2
