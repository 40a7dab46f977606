"""``intaglio info``: what a token file, a shard, a bundle or a checkpoint holds, fully checked."""

import argparse
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from intaglio.codecs import Codec
from intaglio.codecs.bundle import WEIGHTS, fingerprint, load_part
from intaglio.codecs.part import Part, describe
from intaglio.codecs.shipped import CARD, FOLDER, KINDS, located
from intaglio.data.formats import shards
from intaglio.data.formats.printable import printable
from intaglio.data.formats.regular_file import check_regular
from intaglio.data.formats.tokens import SUFFIX, iter_tokens
from intaglio.generators import Generator
from intaglio.recipes.commands.options.jobs import add_share_option
from intaglio.recipes.commands.options.trust import add_trust_option
from intaglio.recipes.file_jobs import STANDARD, FileJob, run_all
from intaglio.recipes.modalities import modality_called, modality_of
from intaglio.recipes.tokenization.id_counts import IdCounts

EPILOG = """\
Everything is read and every checksum verified: a table means that the file is intact. A tar shard
is compared with the row next to it, if it has one. Bundles and checkpoints may be of codecs or of
generators. Of several paths, those that cannot be read are named at the end and make the exit
status 1.
"""
MAX_NAMES = 20  # of a list in the table; JSON has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "path",
        nargs="+",
        help="token file, tar shard, bundle folder, training checkpoint (.ckpt), or the name of "
        "parts that come with the package (speech, emoji)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of a table; of several, a list"
    )
    add_share_option(parser, 1.0)
    add_trust_option(parser)


def run(args: argparse.Namespace) -> None:
    """Print the facts.

    Raises:
        OSError: the path does not exist or cannot be read.
        ValueError: it is damaged, of a newer version or not of this package; or one of several is.
    """
    jobs = [FileJob(Path(path), STANDARD) for path in args.path]
    found: list[dict[str, Any]] = []

    def read(job: FileJob) -> None:
        name = {"path": str(job.source)} if len(jobs) > 1 else {}
        found.extend(name | facts for facts in _all_facts(job.source))

    try:
        run_all(jobs, read, "read", max_bad_share=args.max_bad_share)
    finally:
        if args.json and found:
            print(
                json.dumps(
                    found if max(len(found), len(jobs)) > 1 else found[0], indent=2, allow_nan=False
                )
            )
        elif found:
            print("\n\n".join(map(_table, found)))


def _table(facts: dict[str, Any]) -> str:
    width = max(map(len, facts))
    return "\n".join(
        f"{name.replace('_', ' '):{width}}  {printable(_shown(value))}"
        for name, value in facts.items()
    )


def _all_facts(path: Path) -> list[dict[str, Any]]:
    """What a file or a folder holds; of a name, all that comes with it."""
    named = [one for one in dict.fromkeys(located(path, kind) for kind in KINDS) if one != path]
    card = {"card": str(FOLDER / path / CARD)}
    return [_facts(one) | card for one in named] or [_facts(path)]


def _facts(path: Path) -> dict[str, Any]:
    """What a file or a folder holds."""
    if path.is_dir() or path.suffix == ".ckpt":
        part = load_part(path, Part, *KINDS)
        facts = _generator_facts(part) if isinstance(part, Generator) else _codec_facts(part)
        kind = "bundle" if path.is_dir() else "training checkpoint"
        return {"kind": kind} | facts | _disk(path)
    return _shard_facts(path) if path.suffix == shards.SUFFIX else _file_facts(path)


def _file_facts(path: Path) -> dict[str, Any]:
    if path.exists():
        check_regular(path, "a token file")
    with path.open("rb") as file:
        try:
            header, blocks = iter_tokens(file)
            counts = IdCounts(header.vocab)
            for ids in blocks:
                counts.add(ids)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    size, use = path.stat().st_size, counts.use()
    return {
        "kind": f"token file ({SUFFIX})",
        "codec": header.codec,
        "fingerprint": header.fingerprint,
        "modality": header.modality,
        "coding": header.coding,
        **modality_called(header.modality).token_facts(header, size),
        "positions": header.positions,
        "groups": len(header.vocab),
        "vocab": list(header.vocab),
        "bytes": size,
        "distinct_ids": [of_group.distinct for of_group in use],
        "perplexity": [of_group.perplexity for of_group in use],
        "extras": header.extras,
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
            modality = modality_called(header.modality)
            seconds += modality.token_facts(header, 0).get("seconds", 0.0)
            codecs.add(f"{header.codec} ({header.fingerprint})")
    facts |= {"samples": samples, "files": dict(sorted(files.items()))}
    if codecs:  # a shard of drawn images has no tokens
        facts |= {"codecs": sorted(codecs), "positions": positions}
    if seconds:
        facts["seconds"] = seconds
    return facts | {"bytes": path.stat().st_size}


def _codec_facts(codec: Part) -> dict[str, Any]:
    if not isinstance(codec, Codec):
        raise ValueError(f"it holds {type(codec).__name__}, neither a codec nor a generator")
    return {
        "codec": codec.name,
        "class": describe(codec)["class_path"],
        "fingerprint": codec.fingerprint,
        **modality_of(codec).codec_facts(codec),
        "groups": len(codec.vocab),
        "vocab": list(codec.vocab),
        "parameters": _parameters(codec),
        "encoder_parameters": _parameters(codec.encoder),
        "quantizer_parameters": _parameters(codec.quantizer),
        "decoder_parameters": _parameters(codec.decoder),
    }


def _generator_facts(generator: Generator) -> dict[str, Any]:
    """Facts of a generator, with the codec whose tokens it draws, if it has been trained."""
    provenance = generator.provenance
    trained_on: dict[str, Any] = {"trained_on": "nothing yet"}
    if provenance is not None:
        trained_on = {
            "trained_on": f"tokens of {provenance.codec}",
            "codec": provenance.codec,
            "codec_fingerprint": provenance.fingerprint,
            "classes": len(provenance.classes),
            "class_names": list(provenance.classes),
        }
    return {
        "generator": generator.name,
        "class": describe(generator)["class_path"],
        "fingerprint": fingerprint(generator),
        "order": type(generator.order).__name__,
        "head": type(generator.head).__name__,
        "condition": type(generator.condition).__name__,
        "shape": list(generator.shape),
        "positions": generator.positions,
        "groups": generator.width,
        "vocab": list(generator.vocab) or "none: tokens are continuous",
        "parameters": _parameters(generator),
        "head_parameters": _parameters(generator.head),
        **trained_on,
    }


def _disk(path: Path) -> dict[str, Any]:
    files = path.iterdir() if path.is_dir() else [path]
    half = {"weights": "float16 in the file, float32 in memory"} if _is_half(path) else {}
    return half | {
        "bytes": sum(file.stat().st_size for file in files if file.is_file()),
        "checksum": "good" if path.is_dir() else "none: only bundles have one",
    }


def _is_half(path: Path) -> bool:
    """Whether it is a bundle with weights in float16."""
    if not path.is_dir():
        return False
    with safe_open(path / WEIGHTS, "pt") as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shown(value: Any) -> str:
    if isinstance(value, list):
        if len(value) > MAX_NAMES and isinstance(value[0], str):
            return f"{', '.join(value[:MAX_NAMES])} … and {len(value) - MAX_NAMES} more"
        return " ".join(map(_shown, value))
    if isinstance(value, dict):
        return json.dumps(value, allow_nan=False)
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
