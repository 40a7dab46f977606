"""A modality that the package does not have, series of numbers in text files, in all commands.

The numbered steps are those of "Add a modality" in CONTRIBUTING.md. If the package asked for more,
these tests would fail.
"""

import functools
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from intaglio.codecs import Codec, Reconstruction, Tokens, load
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.base import Decoder
from intaglio.codecs.encoders.base import Encoder
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.losses.waveform import WaveformLoss
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.task import CodecTask
from intaglio.codecs.trust import trusting
from intaglio.data import listing
from intaglio.data.formats import token_header
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.token_header import HeaderForm, TokenHeader
from intaglio.data.formats.tokens import SUFFIX, read_tokens, write_tokens
from intaglio.data.tokens import TokenShards
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.detokenize import check_codec
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance
from intaglio.recipes import modalities
from intaglio.recipes.callbacks.predictions import TokenFiles
from intaglio.recipes.file_jobs import FileJob, read_from, write_to
from intaglio.recipes.modalities import MODALITIES, Modality, Option
from intaglio.recipes.tokenization.batch import SourceFile, Tokenizer
from intaglio.recipes.tokenization.same_codec import check_same_codec

HOP = 4  # numbers per position


class Pieces(Encoder):
    """Every four numbers, scaled, as one latent."""

    dim = hop_length = HOP

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x.unflatten(1, (-1, HOP))


class Line(Decoder):
    """The numbers of all latents in a row, scaled."""

    dim = hop_length = HOP

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, latents: Tensor) -> Tensor:
        return self.gain * latents.flatten(1)


# 1. The codec


class SeriesCodec(Codec):
    """Codec of series, [batch, numbers], in [-1, 1]; their size is a multiple of four."""

    signal = "series"

    def __init__(self, encoder: Encoder, quantizer: FSQ, decoder: Decoder, name: str) -> None:
        super().__init__(encoder, quantizer, decoder, name)

    def forward(self, x: Tensor) -> Reconstruction:
        quantized = self.quantizer(self.encoder(x))
        return Reconstruction(self.decoder(quantized.values), quantized)

    def encode(self, x: Tensor) -> Tokens:
        with self.inference():
            ids = self.quantizer.encode_ids(self.encoder(x))
        return self.tokens(ids)

    def decode(self, tokens: Tokens) -> Tensor:
        with self.inference():
            return self.decoder(self.quantizer.decode_ids(tokens.ids))

    def tokens(self, ids: Tensor) -> Tokens:
        return Tokens(ids, torch.ones(ids.shape[:2], dtype=torch.bool), self.vocab)


# 2. Its files; the data set for training is at the end


def read_series(path: Path) -> Tensor:
    """Numbers, one a line, padded with zeros to whole positions."""
    try:
        numbers = torch.from_numpy(np.loadtxt(path, dtype=np.float32, ndmin=1))
    except ValueError as error:
        raise ValueError(f"{path} is not a series: {error}") from error
    return torch.nn.functional.pad(numbers, (0, -len(numbers) % HOP))


def series_text(series: Tensor) -> bytes:
    """One number a line."""
    return "".join(f"{number:.6f}\n" for number in series.tolist()).encode()


# 3. The header of its token files


def fault(header: TokenHeader) -> str | None:
    """What is wrong with a header."""
    if header.length > header.positions * HOP:
        return f"{header.length} numbers do not fit into {header.positions} positions"
    return None


SERIES_HEADER = HeaderForm({"positions": (1, 1 << 32), "length": (1, 1 << 34)}, fault)


def item_of(codec: Codec, tokens: Tokens, item: int = 0) -> tuple[TokenHeader, Tensor]:
    """Header and ids of one item."""
    ids = tokens.ids[item]
    length = HOP * len(ids)
    header = TokenHeader(codec.name, codec.fingerprint, codec.vocab, len(ids), 0, 0, 0, length, {})
    return header._replace(modality="series"), ids


# 4. The modality: many files at once, then one


class SeriesTokenizer(Tokenizer[SeriesCodec, Tensor]):
    """Makes token files of a data set."""

    kind, noun, suffixes = "series", "series", frozenset({".csv"})

    def find(self, source: str) -> tuple[Path, list[listing.Record]]:
        return listing.find(source, self.suffixes, kind=self.kind)

    def _full(self, items: Sequence[Tensor]) -> bool:
        return len(items) == 2

    def _decoded(self, source: SourceFile, path: Path) -> Tensor:
        return read_series(path)

    def _files(self, items: Sequence[Tensor]) -> list[bytes]:
        files = []
        for item in items:
            header, ids = item_of(self.codec, self.codec.encode(item.unsqueeze(0)))
            file = io.BytesIO()
            write_tokens(file, header._replace(coding=self._coding), ids)
            files.append(file.getvalue())
        return files


class SeriesEncoding(NamedTuple):
    """How to encode."""

    level: float = 1.0
    entropy: bool = False


class SeriesDecoding(NamedTuple):
    """How to decode."""


class SeriesText:
    """What generators draw."""

    noun, suffix = "row", ".csv"

    def __init__(self, generator: Generator, codec: SeriesCodec) -> None:
        check_codec(generator, codec)
        self.codec = codec

    def decode(self, tokens: Tensor) -> Tensor:
        return self.codec.decode(self.codec.tokens(tokens))

    def to_bytes(self, item: Tensor) -> bytes:
        return series_text(item)


class Series(Modality[SeriesCodec]):
    """Series of numbers."""

    codec, tokenizer = SeriesCodec, SeriesTokenizer
    plural, item = "series", "a series"
    encoding, decoding = SeriesEncoding, SeriesDecoding
    options = {"encode": (Option("--level", "factor of the numbers (1)", type=float),)}
    decoded_suffix = ".csv"

    def check_decoded(self, path: Path) -> None:
        if path.suffix != ".csv":
            raise ValueError(f"{path}: can write .csv")

    def encode_file(self, codec: SeriesCodec, job: FileJob, options: SeriesEncoding) -> None:
        with read_from(job.source) as source, write_to(job.target, SUFFIX) as target:
            series = options.level * read_series(source)
            self.write_item(codec, codec.encode(series.unsqueeze(0)), target)

    def decode_file(self, codec: SeriesCodec, job: FileJob, options: SeriesDecoding) -> None:
        with read_from(job.source) as source, source.open("rb") as file:
            header, ids = read_tokens(file)
            check_same_codec(header, codec)
        with write_to(job.target, ".csv") as target:
            target.write_bytes(series_text(codec.decode(codec.tokens(ids.unsqueeze(0)))[0]))

    def write_item(
        self, codec: SeriesCodec, tokens: Tokens, target: Path, *, item: int = 0
    ) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as written, written.open("wb") as file:
            write_tokens(file, *item_of(codec, tokens, item))

    def medium(self, generator: Generator, codec: SeriesCodec) -> "SeriesText":
        return SeriesText(generator, codec)

    def codec_facts(self, codec: SeriesCodec) -> dict[str, object]:
        return {"hop_length": HOP}

    def token_facts(self, header: TokenHeader, size: int) -> dict[str, object]:
        return {"numbers": header.length}


@pytest.fixture
def series(monkeypatch) -> Iterator[None]:
    """The modality, in the tables."""
    monkeypatch.setattr(modalities, "MODALITIES", (*MODALITIES, Series()))  # 5. the table
    monkeypatch.setitem(token_header.FORMS, "series", SERIES_HEADER)
    with trusting([__name__]):  # what a test defines is outside the package
        yield


@pytest.fixture
def codec(series, tmp_path) -> Path:
    """A bundle."""
    made = SeriesCodec(Pieces(), FSQ(HOP, (8, 5, 5, 5)), Line(), "tiny series")
    return save(made.eval(), tmp_path / "codec")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six series of 16 numbers."""
    for number in range(6):
        path = tmp_path / "in" / f"{number}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(series_text(torch.linspace(-0.6, 0.1 * number, 16)))
    return tmp_path / "in"


def test_files_become_tokens_and_come_back(intaglio, codec, folder, tmp_path):
    words = ("--codec", codec)
    assert intaglio("encode", folder, "-o", tmp_path / "t", *words).status == 0
    assert intaglio("decode", tmp_path / "t", "-o", tmp_path / "back", *words).status == 0
    before, after = (read_series(tmp_path / where / "3.csv") for where in ("in", "back"))
    assert before.shape == after.shape and (before - after).abs().max() < 0.7
    louder = ("encode", folder / "3.csv", "-o", tmp_path / "loud", "--level", 1.5)
    assert intaglio(*louder, *words).status == 0
    assert (tmp_path / "loud").read_bytes() != (tmp_path / "t" / "3.intaglio").read_bytes()


def test_its_options_and_files_are_refused_elsewhere_and_others_here(
    refusal, record, bundle, codec, folder, tmp_path
):
    out = ("-o", tmp_path / "t")
    sound = record(tmp_path / "a.wav")
    line = refusal("encode", sound, *out, "--codec", bundle, "--level", 2)
    assert line == "--level is for series, tiny is a codec of audio"
    line = refusal("encode", folder / "1.csv", *out, "--codec", bundle)
    assert line == f"{folder / '1.csv'}: it is a series, tiny is a codec of audio"
    line = refusal("encode", sound, *out, "--codec", codec)
    assert line == f"{sound}: it is a recording, tiny series is a codec of series"
    line = refusal("encode", folder / "1.csv", *out, "--codec", codec, "--stereo", "mix")
    assert line.endswith("are for audio, tiny series is a codec of series")


def test_without_its_line_in_the_table_it_is_refused(refusal, codec, folder, monkeypatch):
    monkeypatch.setattr(modalities, "MODALITIES", MODALITIES)
    line = refusal("encode", folder / "1.csv", "-o", folder / "t", "--codec", codec)
    assert line == "tiny series is a SeriesCodec; the commands treat audio, images"


def test_a_data_set_becomes_shards(intaglio, codec, folder, tmp_path):
    (folder / "bad.csv").write_text("one\ntwo\n")
    words = ("-o", tmp_path / "shards", "--codec", codec, "--max-bad-share", 1)
    assert intaglio("tokenize", folder, *words).out.startswith("6 series in 1 shard, 1 damaged")
    facts = json.loads(intaglio("info", tmp_path / "shards" / "000000.tar", "--json").out)
    assert (facts["samples"], facts["positions"], facts["checksum"]) == (6, 24, "good")


def test_info_shows_it(intaglio, codec, folder, tmp_path):
    facts = json.loads(intaglio("info", codec, "--json").out)
    assert (facts["codec"], facts["hop_length"], facts["vocab"]) == ("tiny series", HOP, [1000])
    intaglio("encode", folder / "2.csv", "-o", tmp_path / "t", "--codec", codec)
    facts = json.loads(intaglio("info", tmp_path / "t", "--json").out)
    assert (facts["modality"], facts["numbers"], facts["positions"]) == ("series", 16, 4)
    assert "sample_rate" not in facts and facts["fingerprint"] == load(codec).fingerprint


class SeriesFolder(Dataset[dict[str, object]]):
    """Batches for training."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"series": read_series(self.paths[index]), "path": str(self.paths[index])}


@pytest.fixture
def trainer(tmp_path) -> Iterator[Trainer]:
    yield Trainer(
        default_root_dir=tmp_path / "run",
        accelerator="cpu",
        max_steps=3,
        num_sanity_val_steps=0,
        limit_val_batches=1,
        callbacks=[TokenFiles()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def test_it_trains_and_predicts_token_files(intaglio, codec, folder, trainer, tmp_path):
    trained = load(codec, trainable=True)
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-2)
    task = CodecTask(trained, {"l1": WaveformLoss()}, optimizer=optimizer)
    data = DataLoader(SeriesFolder(folder), batch_size=3)
    trainer.fit(task, data, data)
    assert trainer.global_step == 3
    assert trained.encoder.gain != load(codec).encoder.gain
    trainer.predict(task, data)
    files = sorted((tmp_path / "run" / "predictions").iterdir())
    assert [file.name for file in files] == [f"{n:06}_{n}.intaglio" for n in range(6)]
    words = ("-o", tmp_path / "back", "--codec", save(trained.eval(), tmp_path / "trained"))
    assert intaglio("decode", tmp_path / "run" / "predictions", *words).status == 0


@pytest.fixture
def generator(intaglio, codec, folder, tmp_path) -> Path:
    """A bundle of a generator of the tokens of a data set, with random weights."""
    intaglio("tokenize", folder, "-o", tmp_path / "shards", "--codec", codec)
    data = TokenShards(str(tmp_path / "shards"), validation_share=0.0, test_share=0.0)
    data.setup()
    assert data.source is not None and data.source.shape == (4,)
    backbone = Backbone(
        data.source.shape, IdEmbedding((1000,), 16), ClassCondition(2), Transformer(16, 1, 2)
    )
    drawer = Generator(backbone, CategoricalHead(16, (1000,)), RasterOrder(), name="tiny drawer")
    tokens = data.training_tokens()
    assert drawer.loss(tokens, torch.zeros(len(tokens), dtype=torch.int64)).shape == (24,)
    drawer.provenance = Provenance(data.source.codec, data.source.fingerprint)
    return save(drawer.eval(), tmp_path / "generator")


def test_a_generator_of_its_tokens_is_sampled(
    intaglio, refusal, generator, codec, bundle, tmp_path
):
    words = ("sample", generator, "--codec", codec, "--class", 1, "--count", 3)
    status, out, _ = intaglio(*words, "-o", tmp_path / "drawn")
    assert (status, out) == (0, f"3 rows in {tmp_path / 'drawn'}\n")
    drawn = [read_series(tmp_path / "drawn" / f"{number:06}.csv") for number in range(3)]
    assert all(series.shape == (16,) for series in drawn)
    assert not torch.equal(drawn[0], drawn[1])
    refused = refusal(*words, "-o", tmp_path / "grid", "--grid")
    assert refused == "--inpaint and --grid are for images, tiny series is a codec of series"
    sound = ("sample", generator, "--codec", bundle, "-o", tmp_path / "sound")
    assert "tiny is a codec of audio" in refusal(*sound)
    facts = json.loads(intaglio("info", generator, "--json").out)
    assert (facts["codec"], facts["shape"]) == ("tiny series", [4])
