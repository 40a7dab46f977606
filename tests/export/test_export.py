import json
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch

from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.audio.wavtokenizer import wavtokenizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.export import onnx, program, torchscript
from intaglio.export.export import FORMATS, export
from intaglio.export.graphs import Graphs
from intaglio.export.signals import signal_of
from intaglio.export.verify import compare, verify

KINDS = {"onnx": onnx, "torchscript": torchscript, "program": program}


def random_codec(build):
    torch.manual_seed(0)
    codec = build().eval()
    if isinstance(codec.quantizer, VectorQuantizer):  # k-means would fill it in training
        codec.quantizer.codebook.normal_(std=0.05)
    return codec


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (None, "torchscript"),
        *(
            pytest.param(build, kind, marks=pytest.mark.slow)
            for build in (speech_small, wavtokenizer)
            for kind in KINDS
        ),
    ],
)
def test_tokens_are_equal_at_ten_lengths(build, kind, tiny_codec, tmp_path):
    codec = random_codec(build) if build else tiny_codec
    [record] = export(codec, tmp_path, [kind])
    lengths = {shape[-1] for shape in record["verified"]["shapes"]}
    assert len(lengths) == 10 and min(lengths) == 1
    assert record["verified"]["ties"] == 0
    assert record["verified"]["error"] < 1e-5
    # again, on other inputs, from the files as they were left
    encode, decode = KINDS[kind].run(tmp_path)
    result = verify(codec, encode, decode, seed=1)
    assert result.ties == 0
    assert result.tokens > 600
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*record["files"], "export.json"]
    )


def test_the_card_tells_how_to_call(tiny_codec, tmp_path):
    export(tiny_codec, tmp_path, ["torchscript"])
    card = json.loads((tmp_path / "export.json").read_text())
    assert card["fingerprint"] == tiny_codec.fingerprint
    assert (card["sample_rate"], card["hop_length"], card["vocab"]) == (1000, 20, [64])


def card_of(folder):
    return json.loads((folder / "export.json").read_text())


@pytest.fixture
def quick(monkeypatch):
    """Formats whose files hold nothing; the graphs themselves are run."""

    def quick_format(suffix):
        def write(graphs, folder):
            found.update(graphs=graphs)
            for part in ("encoder", "decoder"):
                (folder / f"{part}{suffix}").write_text("quick")

        return SimpleNamespace(
            write=write, run=lambda folder: (found["graphs"].encoder, found["graphs"].decoder)
        )

    found = {}
    for name, suffix in (("torchscript", ".ts"), ("program", ".pt2")):
        monkeypatch.setitem(FORMATS, name, quick_format(suffix))


def test_a_folder_belongs_to_one_codec(quick, tiny_codec, tmp_path):
    (tmp_path / "notes.ts").write_text("mine")
    export(tiny_codec, tmp_path, ["program"])
    export(tiny_codec, tmp_path, ["torchscript"])  # joins what is there
    assert [one["format"] for one in card_of(tmp_path)["exports"]] == ["program", "torchscript"]
    assert (tmp_path / "encoder.pt2").is_file()
    with torch.no_grad():
        tiny_codec.decoder.head.out.bias.add_(1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="holds an export of another model; add --overwrite or"):
        export(tiny_codec, tmp_path, ["torchscript"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    export(tiny_codec, tmp_path, ["torchscript"], overwrite=True)
    assert [one["format"] for one in card_of(tmp_path)["exports"]] == ["torchscript"]
    names = ["decoder.ts", "encoder.ts", "export.json", "notes.ts"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_card_from_elsewhere_removes_nothing_of_others(quick, tiny_codec, tmp_path):
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "encoder.pt2").write_text("old")
    for files in ({"../notes": 1}, {"notes": 1, "encoder.pt2": 3}, ["encoder.pt2"], 7):
        card = {"fingerprint": "x", "exports": [{"format": "program", "files": files}]}
        (tmp_path / "export.json").write_text(json.dumps(card))
        with pytest.raises(ValueError, match=r"holds export\.json of another program"):
            export(tiny_codec, tmp_path, ["torchscript"])
        assert (tmp_path / "notes").read_text() == "mine" and card_of(tmp_path) == card
    (tmp_path / "export.json").unlink()
    export(tiny_codec, tmp_path, ["torchscript"])
    assert (tmp_path / "encoder.pt2").read_text() == "old"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"holds encoder\.pt2 of another program"):
        export(tiny_codec, tmp_path, ["torchscript", "program"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    export(tiny_codec, tmp_path, ["torchscript", "program"], overwrite=True)
    assert (tmp_path / "encoder.pt2").read_text() == "quick"
    assert (tmp_path / "notes").read_text() == "mine"
    (tmp_path / "export.json").write_text('{"mine": 1}')
    export(tiny_codec, tmp_path, ["program"], overwrite=True)
    assert [one["format"] for one in card_of(tmp_path)["exports"]] == ["program"]


def test_an_export_is_written_through_links(quick, tiny_codec, tmp_path):
    """To another disk, for instance."""
    (tmp_path / "disk").mkdir()
    folder = tmp_path / "exported"
    export(tiny_codec, folder, ["program"])
    (folder / "encoder.pt2").rename(tmp_path / "disk" / "encoder.pt2")
    (folder / "encoder.pt2").symlink_to("../disk/encoder.pt2")
    (tmp_path / "disk" / "encoder.pt2").write_text("old")
    export(tiny_codec, folder, ["program"])
    assert (folder / "encoder.pt2").is_symlink()
    assert (tmp_path / "disk" / "encoder.pt2").read_text() == "quick"


def earlier_export(folder):
    """An encoder that a card lists; the names in the folder."""
    (folder / "encoder.ts").write_bytes(b"old")
    record = {"format": "torchscript", "files": {"encoder.ts": 3}}
    (folder / "export.json").write_text(json.dumps({"fingerprint": "x", "exports": [record]}))
    return ["encoder.ts", "export.json"]


@pytest.mark.parametrize("kind", ["torchscript", pytest.param("program", marks=pytest.mark.slow)])
def test_a_full_disk_is_an_error_and_leaves_the_earlier_export(tiny_codec, tmp_path, kind):
    """Writers in C++ would abort the whole process."""
    resource = pytest.importorskip("resource")
    names = earlier_export(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            export(tiny_codec, tmp_path, [kind], overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_wrong_encoder_is_refused_and_nothing_stays(tiny_codec, tmp_path, monkeypatch):
    right = torchscript.run

    def wrong(folder):
        encode, decode = right(folder)

        def off(wave):
            ids = encode(wave)
            ids[0, 0, 0] = (ids[0, 0, 0] + 1) % 64
            return ids

        return off, decode

    names = earlier_export(tmp_path)
    monkeypatch.setattr(torchscript, "run", wrong)
    with pytest.raises(ValueError, match="1 of 1 tokens differently at 1 samples"):
        export(tiny_codec, tmp_path, ["torchscript"], overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "encoder.ts").read_bytes() == b"old"


def test_a_wrong_length_or_sample_is_refused(tiny_codec):
    graphs = Graphs(tiny_codec)
    with torch.no_grad():
        with pytest.raises(ValueError, match="shape"):
            verify(tiny_codec, lambda wave: graphs.encoder(wave)[:, :1], graphs.decoder)
        with pytest.raises(ValueError, match="decoder differs by"):
            verify(tiny_codec, graphs.encoder, lambda ids: graphs.decoder(ids) + 2e-4)
        with pytest.raises(ValueError, match="decoder differs by nan"):
            verify(tiny_codec, graphs.encoder, lambda ids: graphs.decoder(ids) * float("nan"))


def with_twins(codec):
    """Its graphs, the second half of the codes made the first, but for rounding."""
    codebook = codec.quantizer.codebook
    codebook[32:] = codebook[:32] * (1 + 3e-8 * torch.randn(32, 8))
    return Graphs(codec)


def rounded_otherwise(graphs):
    """The encoder with exact latents: what differs from it is rounding, on every processor."""
    exact = deepcopy(graphs.encoder.encoder).double()
    return lambda wave: graphs.encoder.quantizer.encode_ids(exact(wave.double()).float())


def test_a_rounding_tie_is_no_difference(tiny_codec):
    """Two codes at the same distance: which one wins is rounding, not an error of the export."""
    graphs = with_twins(tiny_codec)
    with torch.no_grad():
        result = verify(tiny_codec, rounded_otherwise(graphs), graphs.decoder)
    assert 0 < result.ties < result.tokens


def test_a_third_code_at_a_tie_is_refused(tiny_codec, generator):
    graphs = with_twins(tiny_codec)
    other = rounded_otherwise(graphs)
    wave = torch.randn(1, 1, 4000, generator=generator)

    def third(wave):
        ids, theirs = graphs.encoder(wave), other(wave)
        return torch.where(ids == theirs, ids, (ids + 1) % 64)

    with torch.no_grad():
        found = compare(graphs, wave, other, graphs.decoder, generator)
        assert found.tokens == 200 and found.ties > 0 and found.wrong == 0
        expected = found._replace(ties=0, wrong=found.ties)
        assert compare(graphs, wave, third, graphs.decoder, generator) == expected


def shifted(codec):
    codec.quantizer.codebook.add_(1e-3)


def scaled(codec):
    codec.encoder.register_forward_hook(lambda *args: args[-1] * 1.001)


def half_precise(codec):
    codec.encoder.register_forward_hook(lambda *args: args[-1].bfloat16().float())


@pytest.mark.parametrize("mistake", [shifted, scaled, half_precise])
def test_a_mistake_a_thousandth_large_is_no_rounding(mistake, tiny_codec, generator):
    wave = torch.randn(1, 1, 100_000, generator=generator)
    with torch.no_grad():  # codes among the latents: one in some hundred is as near to a border
        tiny_codec.quantizer.codebook.copy_(tiny_codec.encoder(wave[..., :1280])[0])
    wrong = deepcopy(tiny_codec)
    mistake(wrong)
    graphs = Graphs(tiny_codec)
    found = compare(graphs, wave, Graphs(wrong).encoder, graphs.decoder, generator)
    assert found.wrong > found.ties


def test_the_ten_lengths_begin_at_one_sample(tiny_codec):
    shapes = signal_of(tiny_codec).shapes()
    lengths = {samples for _, _, samples in shapes}
    assert len(lengths) == 10
    assert {1, 19, 20, 21} <= lengths
    assert {batch for batch, _, _ in shapes} == {1, 3}


def test_an_unknown_format_is_reported(tiny_codec, tmp_path):
    with pytest.raises(ValueError, match="onnx, torchscript, program, stream; got tflite"):
        export(tiny_codec, tmp_path, ["onnx", "tflite"])


def test_a_signal_that_export_does_not_know_is_refused(tiny_codec, monkeypatch, tmp_path):
    monkeypatch.setattr(type(tiny_codec), "signal", "smell")
    with pytest.raises(ValueError, match="tiny cannot be exported: it codes a smell"):
        export(tiny_codec, tmp_path, ["program"])
    assert list(tmp_path.iterdir()) == []
