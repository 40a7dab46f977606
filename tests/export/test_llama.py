"""Generators as Llamas: transformers computes the same, and what no Llama can do is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from intaglio.codecs.bundle import save
from intaglio.codecs.layers.transformer import Transformer
from intaglio.export import llama
from intaglio.export.llama_reader import run, verify
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import NO_CLASS, ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.image.llamagen import llamagen
from intaglio.generators.inference.logits import Warp
from intaglio.generators.load import load
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes import cli

CLASSES, VOCAB = 5, 37


def raster(order=None, *, vocab=(VOCAB,), prefix=1, rotary="line", head=None, **backbone):
    """A generator whose logits vary by several units."""
    torch.manual_seed(0)
    options = {"gated": True, "bias": False, "norm": "rms", "kv_heads": 2} | backbone
    generator = Generator(
        Backbone(
            (3, 4),
            IdEmbedding(vocab, 32),
            ClassCondition(CLASSES, prefix=prefix),
            Transformer(32, 3, 4, **options),
            rotary=rotary,
        ),
        head or CategoricalHead(32, vocab),
        order or RasterOrder(),
        name="tiny",
    )
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, float(parameter.dim() == 1), 0.4)
    return generator.eval()


def sequences():
    """A generator of items of any length."""
    head = CategoricalHead(32, (VOCAB + 1,))
    part = raster().backbone
    backbone = Backbone((12,), part.embedding, part.condition, part.transformer, rotary="line")
    return Generator(backbone, head, RasterOrder(), end_of_sequence=True, name="tiny").eval()


def exported(generator, folder, **options):
    steps: list[str] = []
    record = llama.export(generator, folder, steps.append, **options)
    assert steps == ["llama: writing", "llama: comparing it with the generator"]
    assert record["verified"]["error"] < 1e-4
    assert record["verified"]["greedy"] == 1
    return json.loads((folder / "export.json").read_text())


def test_the_files_and_what_they_say(tmp_path):
    generator = raster()
    generator.provenance = Provenance("vqgan", "f" * 32, ("ant", "bee"))
    card = exported(generator, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "export.json"),
    }
    assert card["classes"] == {"first": 0, "count": 5} and card["no_class"] == 5
    assert card["tokens"] == {"first": 6, "count": 37} and card["shape"] == [3, 4]
    assert card["codec_fingerprint"] == "f" * 32 and card["class_names"] == ["ant", "bee"]
    again = load(save(generator, tmp_path / "bundle"))
    assert card["fingerprint"] == exported(again, tmp_path / "again")["fingerprint"]
    state = load_file(tmp_path / "model.safetensors")
    assert state["model.embed_tokens.weight"].shape == (43, 32)
    assert torch.equal(state["model.embed_tokens.weight"][:6], generator.condition.table.weight)
    assert torch.equal(state["lm_head.weight"][6:], generator.head.linear.weight)
    assert state["model.layers.2.self_attn.k_proj.weight"].shape == (16, 32)


def test_files_of_another_export_go_and_a_bundle_stays(tmp_path):
    generator = raster()
    for name in ("encoder.ts", "notes"):
        (tmp_path / name).write_text("old")
    record = {"format": "torchscript", "files": {"encoder.ts": 3}}
    (tmp_path / "export.json").write_text(json.dumps({"fingerprint": "f", "exports": [record]}))
    with pytest.raises(ValueError, match="holds an export of another model; add --overwrite or"):
        llama.export(generator, tmp_path)
    exported(generator, tmp_path, overwrite=True)
    names = ["config.json", "export.json", "generation_config.json", "model.safetensors", "notes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    (tmp_path / "fresh").touch(0o666)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes == {(tmp_path / "fresh").stat().st_mode}
    exported(generator, tmp_path)  # replaces its own
    bundle = save(generator, tmp_path / "bundle")
    for damage in ("", "{", '{"format_version": 99}', '{"model_type": "llama"}'):
        (bundle / "config.json").write_text(damage or (bundle / "config.json").read_text())
        before = {path.name: path.read_bytes() for path in bundle.iterdir()}
        with pytest.raises(ValueError, match=r"bundle holds model\.safetensors and config\.json"):
            llama.export(generator, bundle)
        assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    exported(generator, bundle, overwrite=True)


def test_rows_of_a_head_are_sorted_into_halves():
    rows = torch.arange(12.0).view(12, 1)  # two heads of six
    assert llama._halves(rows, 6).flatten().tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]


@pytest.mark.parity
@pytest.mark.parametrize("kv_heads", [4, 1])
def test_transformers_computes_the_same_logits_and_greedy_tokens(tmp_path, kv_heads):
    transformers = pytest.importorskip("transformers")
    generator = raster(kv_heads=kv_heads, hidden=48)
    first = exported(generator, tmp_path)["tokens"]["first"]
    model = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype="auto").eval()
    assert model.dtype == torch.float32
    labels = torch.arange(64) % (CLASSES + 1) + NO_CLASS
    tokens = torch.randint(0, VOCAB, (64, 12, 1))
    ids = torch.cat([labels.unsqueeze(1) % first, tokens[..., 0] + first], dim=1)
    with torch.no_grad():
        hidden = generator.predictions(tokens, labels).hidden
        ours = generator.head.logits(hidden)[0].view(64, 12, VOCAB)
        theirs = model(ids[:, :-1]).logits
    assert ours.std() > 1
    assert torch.allclose(ours, theirs[..., first:], rtol=0, atol=1e-4)
    for count in (0, 5):
        given = PartialSequence(tokens, (torch.arange(12) < count).expand(64, 12))
        drawn = Sampler(warp=Warp(top_k=1)).generate(generator, labels, given=given)
        prompts = ids[:, : 1 + count]
        found = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=12 - count,
            do_sample=False,
        )
        assert torch.equal(found[:, 1:] - first, drawn[..., 0])


@pytest.mark.parity
def test_transformers_draws_tokens_only(tmp_path):
    transformers = pytest.importorskip("transformers")
    generator = raster()
    torch.nn.init.constant_(generator.head.linear.weight, 0)  # classes would be as likely
    exported_first = llama.check(generator).first
    llama.export(generator, tmp_path)
    model = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    assert model.generation_config.top_k == 0  # theirs is 50
    prompts = torch.zeros(50, 1, dtype=torch.int64)
    drawn = model.generate(prompts, attention_mask=torch.ones_like(prompts))[:, 1:]
    assert drawn.shape == (50, 12)
    assert drawn.min() >= exported_first
    assert len(drawn.unique()) == VOCAB


@pytest.mark.parametrize(
    ("generator", "reason"),
    [
        (
            lambda: raster(rotary="grid"),
            r"rotations by the position in the shape \(3, 4\).*\"line\"",
        ),
        (lambda: raster(rotary=None), "no rotations"),
        (lambda: raster(MaskedOrder(32)), "another order"),
        (lambda: raster(prefix=2), "2 tokens of a condition that share an id.*prefix=1"),
        (lambda: raster(vocab=(3, 5)), "tokens of 2 groups.*one codebook"),
        (lambda: raster(qk_norm="rms"), "normalised queries and keys.*qk_norm=False"),
        (lambda: raster(norm="layer"), "norms other than RMS"),
        (lambda: raster(affine=False), "norms other than RMS"),
        (lambda: raster(gated=False), "MLPs other than SwiGLU"),
        (lambda: raster(activation="gelu"), "MLPs other than SwiGLU"),
        (lambda: raster(bias=True), "linear layers with bias.*bias=False"),
        (lambda: raster(streams=1), "modulated blocks|linear layers with bias"),
        (sequences, "items of any length.*export one without end_of_sequence"),
    ],
    ids=[
        *("grid", "unrotated", "masked", "prefix", "groups", "qk_norm", "layer", "plain"),
        *("mlp", "gelu", "bias", "streams", "sequences"),
    ],
)
def test_what_no_llama_has_is_refused_in_one_line(tmp_path, generator, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        llama.export(generator(), tmp_path / "out")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("tiny has ")
    assert not (tmp_path / "out").exists()


def test_files_that_compute_something_else_are_not_left(tmp_path, monkeypatch):
    generator = raster()
    with monkeypatch.context() as patch:
        patch.setattr(llama, "_halves", lambda weight, size: weight)
        with pytest.raises(ValueError, match="logits differ by .*nothing was written"):
            llama.export(generator, tmp_path)
    assert list(tmp_path.iterdir()) == []
    exported(generator, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.weight"][-1, 0] += 0.01
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="logits differ by"):
        verify(generator, tmp_path, 6)


def test_llamagen_is_exported_if_it_is_built_for_it(tmp_path):
    options = {"shape": (2, 2), "vocab": (7,), "num_classes": 3}
    exported(llamagen("tiny", **options, rotary="line").eval(), tmp_path)
    with pytest.raises(ValueError, match='rotations by the position.*rotary="line"'):
        llama.export(llamagen("tiny", **options).eval(), tmp_path / "grid")


def test_later_tokens_have_no_influence(tmp_path):
    llama.export(raster(), tmp_path)
    ids = torch.randint(6, 43, (1, 8))
    assert torch.allclose(run(tmp_path, ids)[:, :5], run(tmp_path, ids[:, :5]), atol=1e-5)


def test_the_command(tmp_path, monkeypatch, capsys):
    bundle, out = str(save(raster(), tmp_path / "bundle")), str(tmp_path / "out")

    def call(*words):
        monkeypatch.setattr("sys.argv", ["intaglio", "export", bundle, "-o", out, *words])
        return cli.main()

    assert call("--format", "llama") == 0
    assert "100.00% of the greedy tokens equal" in capsys.readouterr().out
    assert call("--format", "llama") == 0
    (tmp_path / "out" / "export.json").unlink()
    capsys.readouterr()
    for words, reason in (
        (["--format", "llama"], "add --overwrite or choose another folder"),
        ([], "holds Generator, not a codec"),
    ):
        assert call(*words) == 1
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1
