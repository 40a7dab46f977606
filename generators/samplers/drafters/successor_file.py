"""Tables of successors in a file, so that a drafter begins with what another has learned.

A file that does not belong to the generator costs time, and changes no distribution.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors

from intaglio.codecs.weights import stored_shapes
from intaglio.data.formats.atomic import replacing
from intaglio.generators.samplers.drafters.adjacency import BUCKETS, AdjacencyDrafter, Successors

KIND = {"format": "intaglio.successors", "version": "1"}
MAX_IDS = 1 << 27  # of all tables, 1 GiB


def save(drafter: AdjacencyDrafter, path: str | Path) -> None:
    """Write what a drafter has learned; a file that is there is replaced in one step.

    Raises:
        OSError: it cannot be written.
        ValueError: the drafter has drawn nothing so far.
    """
    if not drafter.tables:
        raise ValueError(f"nothing was learned that {path} could hold: draw something first")
    tensors = {
        f"{group}.{name}": value.cpu().contiguous()
        for group, table in enumerate(drafter.tables)
        for name, value in table._asdict().items()
    }
    with replacing(Path(path)) as new:
        new.write_bytes(save_safetensors(tensors, KIND))


def load(
    path: str | Path, branching: Sequence[int] = (4, 2, 1), *, above: bool = True
) -> AdjacencyDrafter:
    """A drafter that goes on with what a file holds.

    Args:
        path: of the file.
        branching, above: see `AdjacencyDrafter`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or no file of successors, or it holds fewer of each id than
            branching takes.
    """
    drafter, path = AdjacencyDrafter(branching, above=above), Path(path)
    drafter.tables, drafter.source = _read(path), str(path)
    width = drafter.tables[0].last.shape[1]
    if width < max(branching):
        raise ValueError(
            f"{path} holds {width} successors of each id, and branching asks for {max(branching)}: "
            "take a smaller one, or another file"
        )
    return drafter


def _read(path: Path) -> list[Successors]:
    shapes = stored_shapes(path, "file")
    groups = len(shapes) // len(Successors._fields)
    try:
        with safe_open(path, framework="pt") as stored:
            if (stored.metadata() or {}) != KIND:
                raise ValueError(f"{path} is no file of successors, or one of a newer version")
            found = [_expected(shapes, group) for group in range(groups)]
            every = {name: shape for one in found for name, shape in one.items()}
            if not every or shapes != every:
                raise ValueError(f"{path} is damaged: tables are missing; copy the file again")
            if sum(torch.Size(shape).numel() for shape in shapes.values()) > MAX_IDS:
                raise ValueError(f"{path} holds more than {MAX_IDS} ids, as no table does")
            tables = [Successors(*map(stored.get_tensor, one)) for one in found]
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}; copy the file again") from error
    for last, pairs, keys in tables:
        integers = all(one.dtype == torch.int64 for one in (last, pairs, keys))
        if not integers or any(
            int(bound) not in range(len(last)) for one in (last, pairs) for bound in one.aminmax()
        ):
            raise ValueError(f"{path} is damaged: it has ids that there are not; copy it again")
    return tables


def _expected(shapes: dict[str, tuple[int, ...]], group: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tables of a group, by that of the first."""
    first = shapes.get(f"{group}.last", ())
    vocab, width = first if len(first) == 2 and min(first) else (1, 1)
    sizes = (vocab, width), (BUCKETS, width), (BUCKETS,)
    return {f"{group}.{name}": size for name, size in zip(Successors._fields, sizes, strict=True)}
