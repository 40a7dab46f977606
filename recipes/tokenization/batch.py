"""Many files to token files at a time: what `intaglio tokenize` and Ray share.

Files are decoded in threads, a few ahead, and encoded in batches. What shares a batch depends on
the files alone, and no item on its neighbours, so the same files give the same bytes.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from intaglio.codecs import Codec
from intaglio.data.formats.printable import printable
from intaglio.data.manifest import Record
from intaglio.recipes.errors import ends_a_job, explain_file, show_traceback
from intaglio.recipes.tokenization.halving import Halving

THREADS = 8  # decoding waits for the disk more than for the processor

C = TypeVar("C", bound=Codec)
Item = TypeVar("Item")


class SourceFile(NamedTuple):
    """What to tokenize: a file, or a view of an image.

    Attributes:
        name: for messages; of bytes, its suffix gives the format.
        content: a file, or the bytes of one.
        fault: why it cannot be read, if that is known already.
        view: which of the views of an image.
    """

    name: str
    content: Path | bytes
    fault: str = ""
    view: int = 0


class Outcome(NamedTuple):
    """Result for one file: the bytes of a token file, or why there are none."""

    tokens: bytes
    reason: str


class Tokenizer(Generic[C, Item]):
    """Base: makes token files of the kind of files that a codec is made for.

    Args:
        codec: the codec, on its device.
        entropy: entropy code the ids where that makes a file smaller.

    Attributes:
        kind: of its files, as the header of a token file names it: "audio" or "image".
        noun: what its files hold, in the plural, for messages.
        suffixes: of its files, in lower case.
        views: token files that are made of one file.
    """

    kind: ClassVar[str]
    noun: ClassVar[str]
    suffixes: ClassVar[Collection[str]]
    views = 1

    def __init__(self, codec: C, *, entropy: bool = False) -> None:
        self.codec, self.entropy = codec, entropy
        self._batch = Halving(math.inf, least=1, unit=f"{self.noun} at once")

    @property
    def about(self) -> dict[str, Any]:
        """What decides the bytes of a token file, besides its source."""
        return {"fingerprint": self.codec.fingerprint, "coding": self._coding}

    @property
    def _coding(self) -> str:
        return "range" if self.entropy else "packed"

    def find(self, source: str) -> tuple[Path, list[Record]]:
        """Records of a folder, a manifest or a fetched set."""
        raise NotImplementedError

    def run(self, sources: Iterable[SourceFile]) -> Iterator[Outcome]:
        """Outcomes in the order of the sources, which are taken as they are needed.

        Whatever is wrong with a file is its outcome. A batch that does not fit into memory is
        halved.

        Raises:
            OSError: the disk is full.
        """
        window: list[tuple[SourceFile, Item | str]] = []
        with ThreadPoolExecutor(THREADS) as pool:
            for source, item in self._ahead(pool, sources):
                window.append((source, item))
                if self._full([item for _, item in window if not isinstance(item, str)]):
                    yield from self._encoded(window)
                    window = []
        yield from self._encoded(window)

    def _full(self, items: Sequence[Item]) -> bool:
        """Whether it is time to encode."""
        raise NotImplementedError

    def _decoded(self, source: SourceFile, path: Path) -> Item:
        """Content of a file.

        Raises:
            Exception: it cannot be read.
        """
        raise NotImplementedError

    def _batches(self, items: Sequence[Item]) -> list[list[int]]:
        """Indices of the items that are encoded together, batch by batch; all if not overridden."""
        return [list(range(len(items)))]

    def _files(self, items: Sequence[Item]) -> list[bytes]:
        """Token files of the items of a batch, which is not empty.

        Raises:
            Exception: one of them cannot be encoded, or they do not fit into memory together.
        """
        raise NotImplementedError

    def _ahead(
        self, pool: ThreadPoolExecutor, sources: Iterable[SourceFile]
    ) -> Iterator[tuple[SourceFile, Item | str]]:
        """Items, or reasons why there are none, with some more under way."""
        waiting: deque[tuple[SourceFile, Future[Item | str]]] = deque()
        for source in sources:
            waiting.append((source, pool.submit(self._read, source)))
            if len(waiting) > THREADS:
                source, item = waiting.popleft()
                yield source, item.result()
        while waiting:
            source, item = waiting.popleft()
            yield source, item.result()

    def _read(self, source: SourceFile) -> Item | str:
        if source.fault:
            return source.fault
        path = source.content
        try:
            if isinstance(path, Path):
                return self._decoded(source, path)
            with NamedTemporaryFile(suffix=Path(source.name).suffix) as file:
                file.write(path)
                file.flush()
                path = Path(file.name)
                return self._decoded(source, path)
        except Exception as error:
            return _reason(source, error, str(path) if isinstance(path, Path) else "")

    def _encoded(self, window: Sequence[tuple[SourceFile, Item | str]]) -> Iterator[Outcome]:
        sources = [source for source, item in window if not isinstance(item, str)]
        items = [item for _, item in window if not isinstance(item, str)]
        outcomes = [Outcome(b"", "")] * len(items)
        for indices in self._batches(items) if items else []:
            results = self._batch.map([items[index] for index in indices], self._files)
            for index, result in zip(indices, results, strict=True):
                outcomes[index] = (
                    Outcome(b"", _reason(sources[index], result))
                    if isinstance(result, Exception)
                    else Outcome(result, "")
                )
        made = iter(outcomes)
        for _, item in window:
            yield Outcome(b"", item) if isinstance(item, str) else next(made)


def _reason(source: SourceFile, error: Exception, path: str = "") -> str:
    """Why there are no tokens of a file: one line that names it, not a temporary ``path``."""
    if ends_a_job(error):
        raise error
    show_traceback(error)
    reason = explain_file(path or source.name, error)
    return reason.replace(printable(path), printable(source.name)) if path else reason
