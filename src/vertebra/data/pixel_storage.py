"""Bytes that all loader processes share, in memory or in a file of the user's cache folder."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np

PIXELS, CHECKS = "pixels.bin", "checks.bin"


class PixelStorage(Protocol):
    """Room for pixels, with a number for each part of it, 0 at first."""

    @property
    def checks(self) -> np.ndarray:
        """(n,) uint64, to be written to; all processes see it."""

    def view(self, start: int, count: int) -> np.ndarray:
        """(count,) uint8 at a position; it is not to be changed."""

    def write(self, start: int, pixels: np.ndarray) -> bool:
        """Writes bytes at a position.

        Args:
            pixels: (n,) uint8.

        Returns:
            Whether there was room.
        """


class MemoryStorage:
    """Bytes in memory, which processes that are forked or spawned from this one share; made before these begin.

    Args:
        size: bytes.
        parts: how many numbers.
    """

    def __init__(self, size: int, parts: int) -> None:
        self._buffer, self._checks = _shared(size), _shared(8 * parts)
        self._size, self._parts = size, parts

    @property
    def checks(self) -> np.ndarray:
        """See `PixelStorage`."""
        return np.frombuffer(self._checks, dtype=np.uint64, count=self._parts)

    def view(self, start: int, count: int) -> np.ndarray:
        """See `PixelStorage`."""
        return np.frombuffer(self._buffer, dtype=np.uint8, count=count, offset=start)

    def write(self, start: int, pixels: np.ndarray) -> bool:
        """See `PixelStorage`."""
        self.view(start, len(pixels))[:] = pixels
        return True


class FileStorage:
    """Bytes in two files of a folder; what an earlier run wrote there is kept.

    Args:
        folder: for the files; it is made if necessary.
        size: bytes.
        parts: how many numbers.

    Raises:
        OSError: the files cannot be written.
    """

    def __init__(self, folder: Path, size: int, parts: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._size, self._parts = folder, size, parts
        self._maps: tuple[np.ndarray, np.ndarray] | None = None
        self._full = False
        for name, needed in ((PIXELS, size), (CHECKS, 8 * parts)):
            path = folder / name
            if not path.exists() or path.stat().st_size != needed:
                with path.open("wb") as file:
                    file.truncate(needed)
        with (folder / CHECKS).open("r+b") as file:  # no holes, which a full disk could not fill
            content = file.read()
            file.seek(0)
            file.write(content)

    def __getstate__(self) -> dict[str, Any]:
        """For loader processes, which open the files again."""
        return {**self.__dict__, "_maps": None}

    def _mapped(self) -> tuple[np.ndarray, np.ndarray]:
        if self._maps is None:
            pixels = np.memmap(self.folder / PIXELS, dtype=np.uint8, mode="c", shape=(self._size,))
            checks = np.memmap(self.folder / CHECKS, dtype=np.uint64, mode="r+", shape=(self._parts,))
            self._maps = np.asarray(pixels), np.asarray(checks)
        return self._maps

    @property
    def checks(self) -> np.ndarray:
        """See `PixelStorage`."""
        return self._mapped()[1]

    def view(self, start: int, count: int) -> np.ndarray:
        """See `PixelStorage`."""
        return self._mapped()[0][start : start + count]

    def write(self, start: int, pixels: np.ndarray) -> bool:
        """See `PixelStorage`; not through the map, which would end the process where the disk is full."""
        if self._full:
            return False
        try:
            with (self.folder / PIXELS).open("r+b", buffering=0) as file:
                file.seek(start)
                written = file.write(pixels.data)
        except OSError as error:
            self._full = True
            print(f"{self.folder}: no more images are kept there ({os.strerror(error.errno or 0)})", file=sys.stderr)
            return False
        return written == len(pixels)


def _shared(size: int) -> Any:
    """Zeros in memory that loader processes share."""
    if multiprocessing.get_start_method() == "fork":
        return mmap.mmap(-1, max(1, size))  # takes memory as it is written
    return multiprocessing.RawArray(ctypes.c_uint8, max(1, size))
