"""``intaglio info``: what a token file, a shard, a bundle or a checkpoint holds, checked whole."""

import argparse
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from intaglio.codecs import AudioCodec, Codec, ImageCodec, load
from intaglio.codecs.part import describe
from intaglio.data.formats import shards
from intaglio.data.formats.tokens import SUFFIX, TokenHeader, iter_tokens

EPILOG = """\
Everything is read and every checksum compared: a table means that the file is sound. A tar shard is
compared with the row beside it, if it has one.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "path", help="token file, tar shard, bundle folder or training checkpoint (.ckpt)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> None:
    """Print the facts.

    Raises:
        OSError: the path does not exist or cannot be read.
        ValueError: it is damaged, of a newer version or nothing of ours.
    """
    path = Path(args.path)
    if path.is_dir() or path.suffix == ".ckpt":
        facts = _codec_facts(path, load(path))
    elif path.suffix == shards.SUFFIX:
        facts = _shard_facts(path)
    else:
        facts = _file_facts(path)
    if args.json:
        print(json.dumps(facts, indent=2, allow_nan=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):{width}}  {_shown(value)}")


def _file_facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        try:
            header, blocks = iter_tokens(file)
            counts: list[Counter[int]] = [Counter() for _ in header.vocab]
            for ids in blocks:
                for group, column in enumerate(ids.T.tolist()):
                    counts[group].update(column)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    size = path.stat().st_size
    modal = _audio_facts(header, size) if header.picture is None else _image_facts(header, size)
    return {
        "kind": f"token file ({SUFFIX})",
        "codec": header.codec,
        "fingerprint": header.fingerprint,
        "modality": header.modality,
        "coding": header.coding,
        **modal,
        "positions": header.positions,
        "groups": len(header.vocab),
        "vocab": list(header.vocab),
        "bytes": size,
        "distinct_ids": [len(of_group) for of_group in counts],
        "perplexity": [_perplexity(list(of_group.values())) for of_group in counts],
        "extras": header.extras,
    }


def _audio_facts(header: TokenHeader, size: int) -> dict[str, Any]:
    seconds = header.length / header.sample_rate
    frame_rate = header.sample_rate / header.hop_length
    return {
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "length": header.length,
        "seconds": seconds,
        "frame_rate": frame_rate,
        "nominal_bits_per_second": frame_rate * _bits(header),
        "actual_bits_per_second": 8 * size / seconds if seconds else 0.0,
        "scales": len(header.scale),
    }


def _image_facts(header: TokenHeader, size: int) -> dict[str, Any]:
    assert header.picture is not None
    height, width, rows, columns = header.picture
    bits = header.positions * _bits(header)
    return {
        "height": height,
        "width": width,
        "rows": rows,
        "columns": columns,
        "hop_length": header.hop_length,
        "nominal_bits": bits,
        "nominal_bits_per_pixel": bits / (height * width),
        "actual_bits_per_pixel": 8 * size / (height * width),
    }


def _shard_facts(path: Path) -> dict[str, Any]:
    """Facts of a shard: of its row, its samples, and the token files among them."""
    facts: dict[str, Any] = {"kind": f"shard ({shards.SUFFIX})", "checksum": "none: it has no row"}
    if shards.row_path(path).exists():
        row = shards.read_row(path)
        shards.check_shard(path, row)
        damaged = row.about.get("damaged")
        facts["checksum"] = "good"
        facts["damaged_inputs"] = len(damaged) if isinstance(damaged, list) else 0
    files: Counter[str] = Counter()
    codecs: set[str] = set()
    samples = positions = 0
    seconds = 0.0
    for sample in shards.read_shard(path):
        samples += 1
        files.update(sample.files.keys())
        if SUFFIX[1:] in sample.files:
            try:
                header, blocks = iter_tokens(io.BytesIO(sample.files[SUFFIX[1:]]))
                positions += sum(map(len, blocks))
            except ValueError as error:
                raise ValueError(f"{path}, {sample.key}{SUFFIX}: {error}") from error
            seconds += header.length / header.sample_rate if header.picture is None else 0.0
            codecs.add(f"{header.codec} ({header.fingerprint})")
    return facts | {
        "samples": samples,
        "files": dict(sorted(files.items())),
        "codecs": sorted(codecs),
        "positions": positions,
        "seconds": seconds,
        "bytes": path.stat().st_size,
    }


def _codec_facts(path: Path, codec: Codec) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": "bundle" if path.is_dir() else "training checkpoint",
        "codec": codec.name,
        "class": describe(codec)["class_path"],
        "fingerprint": codec.fingerprint,
    }
    if isinstance(codec, AudioCodec):
        facts |= {
            "sample_rate": codec.sample_rate,
            "channels": codec.channels,
            "hop_length": codec.hop_length,
            "frame_rate": codec.frame_rate,
            "nominal_bits_per_second": codec.bits_per_second,
        }
    if isinstance(codec, ImageCodec):
        facts |= {
            "image_size": codec.image_size,
            "hop_length": codec.hop_length,
            "any_size": codec.any_size,
            "flexible": codec.is_flexible,
            "positions": codec.positions,
            "nominal_bits": codec.bits,
        }
    files = path.iterdir() if path.is_dir() else [path]
    return facts | {
        "groups": len(codec.vocab),
        "vocab": list(codec.vocab),
        "parameters": _parameters(codec),
        "encoder_parameters": _parameters(codec.encoder),
        "quantizer_parameters": _parameters(codec.quantizer),
        "decoder_parameters": _parameters(codec.decoder),
        "bytes": sum(file.stat().st_size for file in files if file.is_file()),
        "checksum": "good" if path.is_dir() else "none: only bundles have one",
    }


def _bits(header: TokenHeader) -> float:
    return float(torch.tensor(header.vocab, dtype=torch.float64).log2().sum())


def _perplexity(counts: Sequence[int]) -> float:
    """Exponential of the entropy of the ids: how many entries are in use, weighted by their use."""
    shares = torch.tensor(counts, dtype=torch.float64)
    return float(torch.special.entr(shares / shares.sum()).sum().exp()) if counts else 0.0


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    if isinstance(value, dict):
        return json.dumps(value, allow_nan=False)
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
