"""Recordings and pictures to token files, many at a time: what `intaglio tokenize` and Ray share.

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


class Recording(NamedTuple):
    """What to tokenize: a recording, or a view of a picture.

    Attributes:
        name: for messages; of bytes, its suffix tells the format.
        content: a file, or the bytes of one.
        fault: why it cannot be read, if that is known already.
        view: which of the views of a picture.
    """

    name: str
    content: Path | bytes
    fault: str = ""
    view: int = 0


class Outcome(NamedTuple):
    """What became of a recording: the bytes of a token file, or why there are none."""

    tokens: bytes
    reason: str


class Tokenizer(Generic[C, Item]):
    """Base: makes token files of what a codec is made for.

    Args:
        codec: the codec, on its device.
        entropy: entropy code the ids where that makes a file smaller.

    Attributes:
        kind: of its files, in messages.
        noun: what is tokenized, in messages.
        suffixes: of its files.
        views: files of tokens that are made of one recording.
    """

    kind: ClassVar[str]
    noun: ClassVar[str]
    suffixes: ClassVar[Collection[str]]
    views = 1

    def __init__(self, codec: C, *, entropy: bool = False) -> None:
        self.codec, self.entropy = codec, entropy
        self.fingerprint = codec.fingerprint  # hashes all weights: once, not once a file

    @property
    def about(self) -> dict[str, Any]:
        """What decides the bytes of a token file beside its source."""
        return {"fingerprint": self.fingerprint, "coding": self._coding}

    @property
    def _coding(self) -> str:
        return "range" if self.entropy else "packed"

    def find(self, source: str) -> tuple[Path, list[Record]]:
        """Records of a folder, a manifest or a fetched set."""
        raise NotImplementedError

    def run(self, recordings: Iterable[Recording]) -> Iterator[Outcome]:
        """Outcomes in the order of the recordings, which are taken as they are needed.

        Raises:
            OSError: a recording cannot be read for a reason that is not its own.
            ModuleNotFoundError: a format needs the ``media`` extra, or ``entropy`` is missing.
        """
        window: list[Item | str] = []
        with ThreadPoolExecutor(THREADS) as pool:
            for item in self._ahead(pool, recordings):
                window.append(item)
                if self._full([item for item in window if not isinstance(item, str)]):
                    yield from self._encoded(window)
                    window = []
        yield from self._encoded(window)

    def _full(self, items: Sequence[Item]) -> bool:
        """Whether it is time to encode."""
        raise NotImplementedError

    def _decoded(self, recording: Recording, path: Path) -> Item:
        """Content of a file.

        Raises:
            ValueError, FileNotFoundError: it cannot be read.
        """
        raise NotImplementedError

    def _files(self, items: Sequence[Item]) -> list[bytes]:
        """Token files of some items."""
        raise NotImplementedError

    def _ahead(
        self, pool: ThreadPoolExecutor, recordings: Iterable[Recording]
    ) -> Iterator[Item | str]:
        """Items, or reasons why there are none, with some more under way."""
        waiting: deque[Future[Item | str]] = deque()
        for recording in recordings:
            waiting.append(pool.submit(self._read, recording))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(self, recording: Recording) -> Item | str:
        if recording.fault:
            return recording.fault
        if isinstance(recording.content, Path):
            return self._tried(recording, recording.content)
        suffix = Path(recording.name).suffix
        with NamedTemporaryFile(suffix=suffix) as file:
            file.write(recording.content)
            file.flush()
            return self._tried(recording, Path(file.name))

    def _tried(self, recording: Recording, path: Path) -> Item | str:
        try:
            return self._decoded(recording, path)
        except (ValueError, FileNotFoundError) as error:
            return explain(error).replace(str(path), recording.name)

    def _encoded(self, window: Sequence[Item | str]) -> Iterator[Outcome]:
        files = iter(self._files([item for item in window if not isinstance(item, str)]))
        for item in window:
            yield Outcome(b"", item) if isinstance(item, str) else Outcome(next(files), "")
