"""Members of archives at a URL, read in blocks that are kept in the user's cache folder.

All processes of a machine share the blocks: one of them reads a block, the others wait for it. The blocks not used for longest
are removed when all are larger than `MOST_BYTES`, or than a quarter of the free disk.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from vertebra.errors import RunError
from vertebra.files import FileLock, cache_folder, replacing
from vertebra.shards.member_table import MemberTable, cache_key
from vertebra.shards.remote import read_range

MOST_BYTES = 16 << 30
KEPT = 4  # blocks in memory where the cache folder cannot be written
WAIT = 120.0  # seconds until a process reads a block that another does not finish
POLL = 0.02
_in_memory: OrderedDict[tuple[str, int], bytes] = OrderedDict()


def read_remote_member(url: str, table: MemberTable, row: int) -> bytes:
    """A member of an archive at a URL.

    Args:
        url: of the archive.
        table: its members.
        row: the number of the member in the table.

    Raises:
        DataError: the archive cannot be read.
    """
    start, size, block = int(table.starts[row]), int(table.sizes[row]), int(table.blocks[row])
    first, stop = table.bounds(block)
    file = _folder() / cache_key(url, table.digest) / f"{block}-{first}-{stop}"
    content = _part(file, start - first, size)
    if content is None:
        whole = _fetch(url, block, (first, stop), file)
        content = whole[start - first : start - first + size]
    return content


def _part(file: Path, start: int, size: int) -> bytes | None:
    """A part of a kept block; None if it is not there."""
    try:
        with file.open("rb") as opened:
            opened.seek(start)
            content = opened.read(size)
    except OSError:
        return None
    return content if len(content) == size else None


def _fetch(url: str, block: int, bounds: tuple[int, int], file: Path) -> bytes:
    """A whole block: of another process that reads it now, or read here and kept."""
    known = _in_memory.get((url, block))
    if known is not None:
        return known
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(file)
    except OSError:
        return _remember(url, block, read_range(url, *bounds))
    try:
        kept = _part(file, 0, bounds[1] - bounds[0])
        if kept is not None:
            return kept
        content = read_range(url, *bounds)
        if not _store(file, content):
            return _remember(url, block, content)
        return content
    finally:
        if lock is not None:
            lock.close()


def _lock(file: Path) -> FileLock | None:
    """The lock on a block; None if another process holds it for too long, or if there are no locks.

    Raises:
        OSError: the folder cannot be written.
    """
    path = file.with_suffix(".lock")
    path.touch()
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            return FileLock(path, file)
        except RunError:
            if file.exists():
                return None
            time.sleep(POLL)
    return None


def _store(file: Path, content: bytes) -> bool:
    """Writes a block, and removes old ones; False if it cannot be written."""
    try:
        with replacing(file) as part:
            part.write_bytes(content)
    except (OSError, RunError):
        return False
    with suppress(OSError):
        _remove_old(file.parent.parent, file)
    return True


def _remember(url: str, block: int, content: bytes) -> bytes:
    _in_memory[url, block] = content
    while len(_in_memory) > KEPT:
        _in_memory.popitem(last=False)
    return content


def _remove_old(folder: Path, newest: Path) -> None:
    """Removes the blocks used least recently, until those that are left fit."""
    files = []
    for inner in os.scandir(folder):
        if inner.is_dir():
            files += [(entry.stat(), Path(entry.path)) for entry in os.scandir(inner) if not entry.name.startswith(".")]
    total = sum(state.st_size for state, _ in files)
    limit = min(MOST_BYTES, total + shutil.disk_usage(folder).free // 4)
    if total <= limit:
        return
    for state, file in sorted(files, key=lambda entry: max(entry[0].st_atime, entry[0].st_mtime)):
        if total <= 0.9 * limit:
            break
        if file != newest and file.suffix != ".lock":
            total -= state.st_size
            file.unlink(missing_ok=True)
            file.with_suffix(".lock").unlink(missing_ok=True)


def _folder() -> Path:
    return cache_folder() / "blocks"
