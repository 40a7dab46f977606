"""Files of others in the output folder of `intaglio tokenize`, which are not replaced unasked."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

from intaglio.data.formats.shards import ROWS, ShardRow, has_row, read_shard, row_path
from intaglio.data.formats.tokens import SUFFIX, read_header
from intaglio.recipes.tokenization.shard_jobs import AnyTokenizer, ShardJob


def foreign_files(jobs: Sequence[ShardJob], tokenizer: AnyTokenizer, out: Path) -> list[Path]:
    """Files in the place of shards, rows and their list that are of others.

    Ours are shards with a row and, since a killed process leaves none, those that begin with tokens
    of the codec.

    Args:
        jobs: all of them.
        tokenizer: that will do them.
        out: folder for the shards of tokens.
    """
    found = []
    for shard in (job.target for job in jobs):
        there = [path for path in (shard, row_path(shard)) if path.exists()]
        if there and not has_row(shard) and not _has_tokens(shard, tokenizer):
            found.append(there[0])
    rows = out / ROWS
    return [*found, rows] if rows.exists() and not _is_list(rows) else found


def _has_tokens(shard: Path, tokenizer: AnyTokenizer) -> bool:
    """Whether a shard begins with tokens of the codec, or is empty."""
    try:
        sample = next(read_shard(shard), None)
        tokens = None if sample is None else sample.files[SUFFIX[1:]]
        return tokens is None or (
            read_header(io.BytesIO(tokens)).fingerprint == tokenizer.codec.fingerprint
        )
    except (ValueError, OSError, KeyError):
        return False


def _is_list(path: Path) -> bool:
    """Whether a file begins with a row, as a list of them does."""
    try:
        with path.open("rb") as file:
            fields = json.loads(file.readline(1 << 26))
    except (ValueError, OSError, RecursionError):
        return False
    return isinstance(fields, dict) and set(fields) == set(ShardRow._fields)
