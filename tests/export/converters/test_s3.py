"""S3's ONNX files: read by name, and the tokens of the published formula."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.audio import s3 as module
from intaglio.export.converters.s3 import convert, read_onnx

DIM, HEADS, BLOCKS, MELS = 128, 2, 2, 40


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    full = module.RecogniserEncoder

    def small(dim, depth, heads, **options):
        return full(dim, BLOCKS, HEADS, num_mels=MELS, **options)

    monkeypatch.setattr(module, "DIM", DIM)
    monkeypatch.setattr(module, "RecogniserEncoder", small)


def released(version):
    """Random weights in the authors' spelling."""
    torch.manual_seed(version)
    sizes = {"conv1": (DIM, MELS, 3), "conv2": (DIM, DIM, 3)}
    for n in range(BLOCKS):
        for layer in ("query", "key", "value", "out"):
            sizes[f"blocks.{n}.attn.{layer}"] = (DIM, DIM)
        sizes |= {f"blocks.{n}.mlp.0": (4 * DIM, DIM), f"blocks.{n}.mlp.2": (DIM, 4 * DIM)}
        if version > 1:
            sizes[f"blocks.{n}.attn.fsmn_block"] = (DIM, 1, 31)
    state = {}
    for name, size in sizes.items():
        state[f"encoder.{name}.weight"] = torch.randn(size) * size[-1] ** -0.5
        if not name.endswith(("key", "fsmn_block")):
            state[f"encoder.{name}.bias"] = 0.1 * torch.randn(size[0])
    for n in range(BLOCKS):
        for norm in ("attn_ln", "mlp_ln"):
            state[f"encoder.blocks.{n}.{norm}.weight"] = 1 + 0.1 * torch.randn(DIM)
            state[f"encoder.blocks.{n}.{norm}.bias"] = 0.1 * torch.randn(DIM)
    if version == 1:
        state["quantizer._codebook.embed"] = torch.randn(4096, DIM) * DIM**-0.5
    else:
        state["quantizer._codebook.project_down.weight"] = torch.randn(8, DIM) * 0.1
        state["quantizer._codebook.project_down.bias"] = 0.1 * torch.randn(8)
    return state


def tokens_of(state, mels, version):
    """Latents and ids of the published formula, of log-mels [1, mels, frames], in float64."""
    w = {name.removeprefix("encoder."): value.double() for name, value in state.items()}
    x = mels.double()
    for name in ("conv1", "conv2"):
        x = F.gelu(F.conv1d(x, w[f"{name}.weight"], w[f"{name}.bias"], 2, 1))
    x = x.mT
    size, time = DIM // HEADS, x.shape[1]
    if version == 1:
        rate = torch.exp(-torch.arange(DIM // 2) * torch.tensor(10_000.0).log() / (DIM // 2 - 1))
        angle = torch.outer(torch.arange(time), rate.double())
        x = x + torch.cat([angle.sin(), angle.cos()], 1)
    rate = 10_000 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.outer(torch.arange(time), rate).repeat(1, 2)

    def turned(y):
        y = y.view(1, time, HEADS, size).transpose(1, 2)
        first, second = y.chunk(2, -1)
        if version == 1:
            return y
        return y * angle.cos() + torch.cat([-second, first], -1) * angle.sin()

    for n in range(BLOCKS):

        def linear(name, y, n=n):
            return F.linear(y, w[f"blocks.{n}.{name}.weight"], w.get(f"blocks.{n}.{name}.bias"))

        def norm(name, y, eps, n=n):
            p = [w[f"blocks.{n}.{name}.{kind}"] for kind in ("weight", "bias")]
            return F.layer_norm(y, (DIM,), *p, eps)

        y = norm("attn_ln", x, 1e-5 if version == 1 else 1e-6)
        v = linear("attn.value", y)
        scores = turned(linear("attn.query", y)) @ turned(linear("attn.key", y)).mT * size**-0.5
        heard = scores.softmax(-1) @ v.view(1, time, HEADS, size).transpose(1, 2)
        out = linear("attn.out", heard.transpose(1, 2).reshape(1, time, DIM))
        if version > 1:
            taps = w[f"blocks.{n}.attn.fsmn_block.weight"]
            out = out + v + F.conv1d(v.mT, taps, padding=15, groups=DIM).mT
        x = x + out
        x = x + linear("mlp.2", F.gelu(linear("mlp.0", norm("mlp_ln", x, 1e-5))))
    if version == 1:
        x = F.normalize(x, dim=-1)
        return x, torch.cdist(x, w["quantizer._codebook.embed"][None]).argmin(-1)
    weight, bias = (w[f"quantizer._codebook.project_down.{kind}"] for kind in ("weight", "bias"))
    digits = (F.linear(x, weight, bias).tanh() * 0.9990000128746033).round() + 1
    return x, (digits * 3 ** torch.arange(8)).sum(-1).long()


def written(state, path):
    """The weights as an exporter writes them: those of products anonymous and transposed."""
    onnx = pytest.importorskip("onnx")
    weights, nodes = [], []
    for number, (name, value) in enumerate(state.items()):
        if value.dim() == 2 and name.endswith(".weight"):
            scope = name.removesuffix(".weight")
            for inner in ("encoder.", "attn.", "mlp.", "quantizer.", "_codebook."):
                scope = scope.replace(inner, inner.replace(".", "/"))
            stem = "/" + scope.replace(".attn", "/attn").replace(".mlp", "/mlp")
            name, value = f"onnx::MatMul_{number}", value.t()
            nodes.append(onnx.helper.make_node("MatMul", ["x", name], ["y"], f"{stem}/MatMul"))
        weights.append(onnx.numpy_helper.from_array(value.contiguous().numpy(), name))
    weights.append(onnx.numpy_helper.from_array(torch.ones(1).numpy(), "onnx::Mul_9"))
    graph = onnx.helper.make_graph(nodes, "s3", [], [], weights)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_tokens_are_those_of_the_published_formula(version, tmp_path):
    state = released(version)
    found = read_onnx(written(state, tmp_path / "s3.onnx"))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    codec = convert(found, version)
    pitches = torch.rand(25, 1, generator=torch.Generator().manual_seed(0)) * torch.pi
    wave = 0.3 * torch.sin(pitches * torch.arange(640)).view(1, 1, -1)
    ids = codec.encode(wave).ids[..., 0]
    latents, expected = tokens_of(state, codec.encoder.log_mels(wave), version)
    with torch.no_grad():
        found = codec.encoder(wave).double()
    torch.testing.assert_close(found, latents, atol=1e-3, rtol=1e-3)
    assert ids.shape == expected.shape == (1, 25)
    assert (ids == expected).float().mean() > 0.95 and len(expected.unique()) > 3
    assert torch.equal(convert(state, version).encode(wave).ids[..., 0], ids)


def test_what_is_not_s3_is_refused(tmp_path):
    with pytest.raises(ValueError, match="are missing"):
        convert(released(1), version=2)
    state = released(1) | {"encoder.positional_embedding": torch.zeros(1500, DIM)}
    with pytest.raises(ValueError, match="not the table of sines"):
        convert(state, version=1)
    pytest.importorskip("onnx")
    for content in (b"", b"no graph at all"):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(ValueError, match="is no ONNX file"):
            read_onnx(tmp_path / "x.onnx")
