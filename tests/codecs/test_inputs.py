import pytest
import torch

from intaglio.codecs.inputs import check_finite
from intaglio.codecs.quantizers.vq import VectorQuantizer


def test_large_values_are_finite_though_their_sum_is_not():
    check_finite(torch.full((9,), 3e38), "a test takes numbers")
    check_finite(torch.full((9,), 6e4, dtype=torch.float16), "a test takes numbers")
    with pytest.raises(ValueError, match=r"numbers of finite values, got inf at \[8\]"):
        check_finite(torch.tensor([3e38] * 8 + [torch.inf]), "a test takes numbers")


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_were_only_made_floats_are_warned_of(tiny_codec, sign):
    wave = sign * torch.linspace(0.1, 1, 200).view(1, 1, -1)
    tiny_codec.encode(2 * wave)  # overdriven, but a signal; warnings are errors here
    reason = r"values in \[-1, 1\], got 32767.*divided by 32768"
    with pytest.warns(UserWarning, match=reason) as seen:
        tiny_codec.encode(32767 * wave)
    assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match=r"got 32767"):
        tiny_codec.encode(32767 * wave, torch.tensor([200]))


def test_recorded_graphs_hold_no_checks():
    quantizer = VectorQuantizer(4, 8, kmeans_iterations=0).eval()

    class Both(torch.nn.Module):
        def forward(self, x):
            return quantizer.decode_ids(quantizer.encode_ids(x))

    program = torch.export.export(Both(), (torch.zeros(2, 3, 4),))
    names = {str(node.target) for node in program.graph.nodes}
    assert not names & {"aten.sum.default", "aten.aminmax.default", "aten._assert_scalar.default"}
