"""Arrays kept in the user's cache folder, for what takes long to read from a data set.

Entries are folders of ``.npy`` files, which are memory-mapped, so that all processes share them, and a JSON file with their
checksums. A damaged entry is removed and made again; a cache folder that cannot be written is no error.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vertebra.files import cache_folder

MAX_BYTES = 4_000_000_000  # of all entries; the ones not used for longest are removed
BLOCK = 2**24  # bytes of a file that are hashed at a time
THREADS = 4
SETTLED = 2_000_000_000  # nanoseconds after which a change shows in a file's times
_INDEX = "index.json"  # written last
_VALUES = "values.json"


class Entry(NamedTuple):
    """What a cache entry holds.

    Attributes:
        arrays: by name; read-only.
        values: all else, as JSON holds it.
    """

    arrays: Mapping[str, np.ndarray]
    values: Any


def file_hash(file: Path) -> str:
    """A hash of a file's content."""
    size = file.stat().st_size

    def digest(start: int) -> bytes:
        with file.open("rb") as opened:
            opened.seek(start)
            return hashlib.sha256(opened.read(BLOCK)).digest()

    with ThreadPoolExecutor(THREADS) as pool:
        digests = pool.map(digest, range(0, size, BLOCK))
        return hashlib.sha256(b"".join(digests)).hexdigest()


def known_hash(file: Path) -> str:
    """The hash of a file's content, computed once for a version of the file that has not changed for a while.

    A version is the file's number, size, and times of the last change of its content and of its properties; the last one
    changes with every write and cannot be set. Windows has no such time, so there the file is always read.
    """
    before = file.stat()
    stamps = (before.st_mtime_ns, before.st_ctime_ns)
    if os.name != "posix" or time.time_ns() - max(stamps) < SETTLED:
        return file_hash(file)
    version = json.dumps([str(file.resolve()), before.st_dev, before.st_ino, before.st_size, *stamps])
    key = f"hash-{hashlib.sha256(version.encode()).hexdigest()}"
    entry = load_entry(key)
    if entry is not None and isinstance(entry.values, str):
        return entry.values
    content = file_hash(file)
    after = file.stat()
    if (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (before.st_size, *stamps):
        store_entry(key, Entry({}, content))
    return content


def load_entry(key: str) -> Entry | None:
    """An entry of the cache; None if there is none, or if it is damaged.

    Args:
        key: a hash of all that the entry depends on.
    """
    folder = _folder() / key
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        arrays = {name: _load(folder / f"{name}.npy", *checks) for name, checks in index["arrays"].items()}
        values = (folder / _VALUES).read_bytes()
        if zlib.crc32(values) != index["values"]:
            raise ValueError(f"{folder}: not what was written")
        entry = Entry(arrays, json.loads(values))
    except Exception:  # of any kind: JSON, numpy and the operating system raise a dozen types on damaged files
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with suppress(OSError):
        os.utime(folder / _INDEX)  # when it was last used
    return entry


def remove_entry(key: str) -> None:
    """Removes an entry, such as one whose values are not what they should be."""
    shutil.rmtree(_folder() / key, ignore_errors=True)


def store_entry(key: str, entry: Entry) -> None:
    """Writes an entry if the cache folder can be written, and removes old ones beyond `MAX_BYTES`."""
    folder = _folder()
    if sum(array.nbytes for array in entry.arrays.values()) > MAX_BYTES:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix="."))
    except OSError:
        return
    try:
        checks = {}
        for name, array in entry.arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            checks[name] = (array.dtype.str, list(array.shape), _checksum(array))
        values = json.dumps(entry.values).encode()
        (temporary / _VALUES).write_bytes(values)
        (temporary / _INDEX).write_text(json.dumps({"arrays": checks, "values": zlib.crc32(values)}))
        temporary.rename(folder / key)
        _remove_old(folder)
    except OSError:  # the disk is full, or another process has written the entry
        pass
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _folder() -> Path:
    return cache_folder() / "data"


def _load(file: Path, dtype: str, shape: list[int], checksum: int) -> np.ndarray:
    """An array of the cache.

    Raises:
        ValueError: it is not what was written.
    """
    if 0 in shape:  # cannot be mapped
        return np.zeros(shape, dtype=np.dtype(dtype))
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.dtype.str != dtype or list(array.shape) != shape or _checksum(array) != checksum:
        raise ValueError(f"{file}: not what was written")
    return np.asarray(array)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _remove_old(folder: Path) -> None:
    """Removes the entries used least recently, until those that are left have at most `MAX_BYTES`."""
    entries = [entry for entry in folder.iterdir() if (entry / _INDEX).is_file()]
    total = 0
    for entry in sorted(entries, key=lambda each: (each / _INDEX).stat().st_mtime, reverse=True):
        total += sum(file.stat().st_size for file in entry.iterdir())
        if total > MAX_BYTES:
            shutil.rmtree(entry, ignore_errors=True)
