"""Writes token files block by block; `intaglio.data.formats.tokens` describes and reads them."""

import itertools
import struct
import zlib
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, BinaryIO

import numpy as np
import torch
from torch import Tensor

from intaglio.data.formats.entropy import MAX_ENTRIES, Ids, StaticPrior, encode_chunk
from intaglio.data.formats.packing import chunks, pack, positions_per_chunk, unpack
from intaglio.data.formats.token_frames import FRAME_BYTES, UINT, frame, take_frame, whole_crc
from intaglio.data.formats.token_header import TokenHeader, header_text
from intaglio.data.formats.token_limits import costs_too_much, ids_per_word

MAGIC = b"\x89ITG\r\n\x1a\n"
PREAMBLE = struct.Struct("<8sBI")  # magic, version, size of the header
MOST = 1 << 32
SPOOL_BYTES = 1 << 20  # kept in memory before a temporary file is made


class TokenWriter:
    """Writes a token file of any length block by block, in constant memory.

    What the header says may depend on the end, so it is given last: chunks wait in a temporary
    file, and ``file`` need not be seekable. Use it as a context manager.

    Args:
        file: where to write; on failure part of a token file may have been written.
        vocab: codebook size of each group.

    Attributes:
        positions: number of positions that have been given.
    """

    def __init__(self, file: BinaryIO, vocab: tuple[int, ...]) -> None:
        self.positions = 0
        self._file, self._vocab = file, vocab
        self._waiting: list[Ids] = []  # less than a chunk
        self._spool: IO[bytes] = SpooledTemporaryFile(SPOOL_BYTES)

    def write(self, ids: Tensor) -> None:
        """Take the ids of the next positions, int64 [any, groups], each in [0, vocab[group]).

        Raises:
            ValueError: the ids break this contract.
        """
        if ids.dtype != torch.int64 or ids.dim() != 2 or ids.shape[1] != len(self._vocab):
            raise ValueError(
                f"ids must be int64 [positions, {len(self._vocab)}], got {ids.dtype} "
                f"{list(ids.shape)}"
            )
        values = ids.cpu().numpy()
        if ((values < 0) | (values >= np.array(self._vocab))).any():
            raise ValueError(f"ids lie outside their codebooks of {self._vocab} entries")
        self.positions += len(values)
        self._waiting.append(values.copy())
        step = positions_per_chunk(self._vocab)
        if sum(map(len, self._waiting)) >= step:
            values = np.concatenate(self._waiting)
            whole = len(values) - len(values) % step
            for start in range(0, whole, step):
                self._spool.write(frame(pack(values[start : start + step], self._vocab)))
            self._waiting = [values[whole:]]

    def finish(self, header: TokenHeader) -> TokenHeader:
        """Write the file, whose header this is, and give the header that was written.

        A header of ``coding`` "range" asks for entropy coding; if that does not make the file
        smaller, the ids stay "packed".

        Raises:
            ValueError: the header breaks its contract or has other positions than were given.
            ModuleNotFoundError: the ``entropy`` extra is wanted and missing.
        """
        header_text(header)
        if (header.positions, header.vocab) != (self.positions, self._vocab):
            raise ValueError(
                f"ids of {self.positions} positions of {self._vocab} do not fit a header of "
                f"{header.positions} positions of {header.vocab}"
            )
        if any(map(len, self._waiting)):
            self._spool.write(frame(pack(np.concatenate(self._waiting), self._vocab)))
            self._waiting = []
        prior = self._entropy_coded(header) if header.coding == "range" else b""
        if not prior:
            header = header._replace(coding="packed")
        text = header_text(header)
        scale = np.array(header.scale, "<f4").tobytes()
        version = 3 if header.modality != "audio" else 2 if prior or scale else 1
        preamble = PREAMBLE.pack(MAGIC, version, len(text)) + text
        self._file.write(preamble + UINT.pack(zlib.crc32(preamble)))
        whole = zlib.crc32(preamble)
        blocks = (scale, prior) if version > 1 else ()
        for content in itertools.chain(blocks, self._contents()):
            self._file.write(frame(content))
            whole = whole_crc(content, whole)
        self._file.write(UINT.pack(whole))
        return header

    def _entropy_coded(self, header: TokenHeader) -> bytes:
        """Replace the packed chunks by range-coded ones.

        Returns:
            Their prior; nothing, and the chunks stay, if they are not smaller or would cost a
            reader too much for their size.
        """
        if sum(self._vocab) > MAX_ENTRIES:
            return b""
        per_word = ids_per_word(self.positions * len(self._vocab))
        counts = [np.zeros(size, np.int64) for size in self._vocab]
        for ids in self._packed_ids():
            for group, size in enumerate(self._vocab):
                counts[group] += np.bincount(ids[:, group], minlength=size)
        prior = StaticPrior.of(counts)
        content = prior.to_bytes()
        coded: IO[bytes] = SpooledTemporaryFile(SPOOL_BYTES)
        for ids in self._packed_ids():
            coded.write(frame(encode_chunk(ids, prior, ids_per_word=per_word)))
        size = coded.tell() + len(content) + 2 * FRAME_BYTES
        if size >= self._spool.tell() or costs_too_much(header, size, kept=True):
            coded.close()
            return b""
        self._spool.close()
        self._spool = coded
        return content

    def _packed_ids(self) -> Iterator[Ids]:
        """The ids of every chunk, while they are packed."""
        bounds = chunks(self.positions, self._vocab)
        for (start, stop), content in zip(bounds, self._contents(), strict=True):
            yield unpack(content, stop - start, self._vocab)

    def _contents(self) -> Iterator[bytes]:
        """Contents of the chunks, packed or coded."""
        self._spool.seek(0)
        for _ in chunks(self.positions, self._vocab):
            yield take_frame(self._spool, "in the temporary file", MOST)

    def __enter__(self) -> "TokenWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spool.close()
