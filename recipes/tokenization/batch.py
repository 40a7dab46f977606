"""Many files to token files at a time: what `intaglio tokenize` and Ray share.

Files are decoded in threads, a few ahead, and encoded in batches. What shares a batch depends on
the files alone, and no item on its neighbours, so the same files give the same bytes.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from intaglio.codecs import Codec
from intaglio.data.manifest import Record
from intaglio.recipes.errors import explain

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

        Raises:
            OSError: a file cannot be read for a reason that is not its own.
            ModuleNotFoundError: a format needs the ``media`` extra, or ``entropy`` is missing.
        """
        window: list[Item | str] = []
        with ThreadPoolExecutor(THREADS) as pool:
            for item in self._ahead(pool, sources):
                window.append(item)
                if self._full([item for item in window if not isinstance(item, str)]):
                    yield from self._encoded(window)
                    window = []
        yield from self._encoded(window)

    def _full(self, items: Sequence[Item]) -> bool:
        """Whether it is time to encode."""
        raise NotImplementedError

    def _decoded(self, source: SourceFile, path: Path) -> Item:
        """Content of a file.

        Raises:
            ValueError, FileNotFoundError: it cannot be read.
        """
        raise NotImplementedError

    def _files(self, items: Sequence[Item]) -> list[bytes]:
        """Token files of the items."""
        raise NotImplementedError

    def _ahead(
        self, pool: ThreadPoolExecutor, sources: Iterable[SourceFile]
    ) -> Iterator[Item | str]:
        """Items, or reasons why there are none, with some more under way."""
        waiting: deque[Future[Item | str]] = deque()
        for source in sources:
            waiting.append(pool.submit(self._read, source))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(self, source: SourceFile) -> Item | str:
        if source.fault:
            return source.fault
        if isinstance(source.content, Path):
            return self._tried(source, source.content)
        suffix = Path(source.name).suffix
        with NamedTemporaryFile(suffix=suffix) as file:
            file.write(source.content)
            file.flush()
            return self._tried(source, Path(file.name))

    def _tried(self, source: SourceFile, path: Path) -> Item | str:
        try:
            return self._decoded(source, path)
        except (ValueError, FileNotFoundError) as error:
            return explain(error).replace(str(path), source.name)

    def _encoded(self, window: Sequence[Item | str]) -> Iterator[Outcome]:
        files = iter(self._files([item for item in window if not isinstance(item, str)]))
        for item in window:
            yield Outcome(b"", item) if isinstance(item, str) else Outcome(next(files), "")
