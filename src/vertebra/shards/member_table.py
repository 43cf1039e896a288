"""Where the members of a tar archive lie in it."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vertebra.errors import DataError
from vertebra.files import cache_folder

BLOCK = 8 << 20  # bytes of an archive at a URL that are read at once


@dataclass(frozen=True, eq=False)
class MemberTable:
    """The members of an archive.

    Attributes:
        names: (m,) bytes (dtype ``S``), ascending, all different.
        starts: (m,) int64, the first byte of each.
        sizes: (m,) int64, bytes of each.
    """

    names: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, names: Sequence[str], starts: np.ndarray, sizes: np.ndarray) -> MemberTable:
        """The table of members in any order."""
        encoded = np.array([os.fsencode(name) for name in names], dtype=np.bytes_) if names else np.zeros(0, "S1")
        order = np.argsort(encoded, kind="stable")
        return cls(encoded[order], starts[order].astype(np.int64), sizes[order].astype(np.int64))

    def row(self, name: bytes) -> int:
        """The number of a member; -1 if there is none of this name."""
        row = int(np.searchsorted(self.names, name)) if len(self.names) else 0
        return row if row < len(self.names) and self.names[row] == name else -1

    def rows(self, names: np.ndarray) -> np.ndarray:
        """(n,) int64, the numbers of members that all exist."""
        rows: np.ndarray = np.searchsorted(self.names, names)
        return rows

    @property
    def blocks(self) -> np.ndarray:
        """(m,) int64, the block of each member: those that begin in the same `BLOCK` bytes."""
        numbers: np.ndarray = self.starts // BLOCK
        return numbers

    @cached_property
    def digest(self) -> str:
        """A hash of the table."""
        return cache_key(self.names.tobytes(), self.starts.tobytes(), self.sizes.tobytes())

    @cached_property
    def _bounds(self) -> dict[int, tuple[int, int]]:
        order = np.argsort(self.starts, kind="stable")
        numbers, first = np.unique(self.blocks[order], return_index=True)
        stops = np.maximum.reduceat((self.starts + self.sizes)[order], first) if len(first) else first
        starts = self.starts[order][first]
        return {int(n): (int(a), int(b)) for n, a, b in zip(numbers, starts, stops, strict=True)}

    def bounds(self, block: int) -> tuple[int, int]:
        """The first byte of a block, and the one after its last."""
        return self._bounds[block]


def cache_key(*parts: object) -> str:
    """A name for a file of the cache, made from all that the file depends on."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def load_arrays(key: str) -> dict[str, np.ndarray] | None:
    """Arrays of the user's cache folder; None if there are none of this key, or if they are damaged."""
    try:
        with np.load(_file(key), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, SyntaxError):
        return None


def store_arrays(key: str, **arrays: np.ndarray) -> None:
    """Keeps arrays in the user's cache folder, if it can be written."""
    file = _file(key)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".npz")
        try:
            with os.fdopen(handle, "wb") as part:
                np.savez(part, **arrays)  # type: ignore[arg-type]  # arrays of numbers and bytes, never pickled
            Path(name).replace(file)
        finally:
            Path(name).unlink(missing_ok=True)


def load_table(key: str) -> MemberTable | None:
    """A table of the user's cache folder; None if there is none of this key."""
    arrays = load_arrays(key)
    if arrays is None or not {"names", "starts", "sizes"} <= arrays.keys():
        return None
    return MemberTable(arrays["names"], arrays["starts"], arrays["sizes"])


def store_table(key: str, table: MemberTable) -> None:
    """Keeps a table in the user's cache folder."""
    store_arrays(key, names=table.names, starts=table.starts, sizes=table.sizes)


def archive_stamp(archive: str) -> tuple[int, int]:
    """Size and time of change of a local archive.

    Raises:
        DataError: there is no such file.
    """
    try:
        state = Path(archive).stat()
    except OSError as error:
        raise DataError(f"{archive}: cannot be read ({error.strerror})") from None
    return state.st_size, state.st_mtime_ns


def read_part(file: str, start: int, size: int) -> bytes:
    """A part of a local file.

    Raises:
        DataError: it cannot be read, or is shorter.
    """
    try:
        with open(file, "rb") as opened:  # noqa: PTH123  # faster than Path.open, and called for each image
            opened.seek(start)
            content = opened.read(size)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    if len(content) != size:
        raise DataError(f"{file}: cut off; copy it again")
    return content


def _file(key: str) -> Path:
    return cache_folder() / "shards" / f"{key}.npz"
