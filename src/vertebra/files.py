"""Atomic writes, file locks, the cache folder, and errors of the operating system as one sentence."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vertebra.errors import RunError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_SENTENCES = {
    errno.ENOSPC: "no space is left on the disk; free some, or choose a place on another disk",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another place",
    errno.EFBIG: "the file would be larger than the system allows; choose another place, or raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose a place that can be written",
    errno.EACCES: "permission denied; change the permissions, or choose another place",
    errno.EPERM: "the operation is not permitted; change the permissions, or choose another place",
    errno.EISDIR: "is a folder, and a file is needed here; choose another name",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
    errno.ENOENT: "no such file or folder",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close other programs",
    errno.EIO: "the disk reports an input/output error; check the disk, or copy the files to another one",
    errno.ENOMEM: "not enough memory; close other programs, or use smaller batches",
}
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})
_NO_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS})  # network file systems, for a folder
_LOCKED_BYTE = (
    1 << 30
)  # Windows' locks also block reading the locked bytes: this one is after the end of any locked file
_MAX_NAME = 120
PARTIAL = ".partial-"


def cache_folder() -> Path:
    """The user's cache folder: ``VERTEBRA_CACHE`` if that is set, else ``vertebra`` in the platform's cache folder
    (``XDG_CACHE_HOME``, ``~/.cache``, ``~/Library/Caches``, ``%LOCALAPPDATA%``)."""
    configured = os.environ.get("VERTEBRA_CACHE")
    if configured:
        return Path(configured)
    if sys.platform == "darwin":
        default = "~/Library/Caches"
    elif os.name == "nt":
        default = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    else:
        default = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(default)) / "vertebra"  # noqa: PTH111  # Path's own raises where there is no home


def os_error_sentence(error: OSError, path: str | Path | None = None) -> str:
    """An error of the operating system as one sentence: the path, the problem, and a remedy.

    Args:
        error: the error.
        path: the file that was written or read, if the error names none.
    """
    named = error.filename if isinstance(error.filename, str | bytes | os.PathLike) else path
    where = None if named is None else os.fsdecode(named)
    if where is not None and path is not None and Path(where).name.startswith(PARTIAL):
        where = str(path)  # the user does not know the temporary name
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        blocking = None if where is None else file_in_the_way(Path(where))
        text = f"{blocking or where or 'a path'} is a file, and a folder is needed there; choose another place"
        if error.errno == errno.ENOTDIR or blocking is not None:
            return text
        return f"{where or 'a path'} exists already, and nothing is overwritten; choose another name"
    reason = _SENTENCES.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    return reason if where is None else f"{_shortened(where)}: {reason}"


def file_in_the_way(path: Path) -> Path | None:
    """The first part of a path that exists and must be a folder, but is none; None if there is none."""
    for part in reversed([path, *path.parents]):
        if os.path.lexists(part) and not os.path.isdir(part):  # noqa: PTH112  # these never raise
            return part
    return None


@contextmanager
def os_errors_as_run_errors(path: str | Path) -> Iterator[None]:
    """Turns an ``OSError`` into a `RunError` of one sentence.

    Args:
        path: the file that is written, for errors that name none.

    Raises:
        RunError: instead of an ``OSError``.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise RunError(os_error_sentence(error, path)) from error


@contextmanager
def replacing(path: Path, *, synced: bool = False) -> Iterator[Path]:
    """A temporary file in the same folder, which replaces the file at the end. After an error it is removed, and an existing file
    is unchanged.

    Args:
        path: the file.
        synced: whether the content is on the disk before the name is, so that also a power cut leaves the old or the new file.

    Raises:
        RunError: an error of the operating system.
    """
    with os_errors_as_run_errors(path), _temporary(path.parent, path.suffix) as part:
        yield part
        if synced:
            with part.open("rb+") as file:
                sync_file(file)
        part.replace(path)
        if synced:
            sync_folder(path.parent)


def sync_file(file: IO[bytes]) -> None:
    """Waits until the content of an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the system can."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(number)


def save_under_free_name(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Writes a file under ``<stem><suffix>``, or ``<stem>-2<suffix>`` and so on if that exists. The write is atomic and
    never overwrites a file, even if several processes write into the folder.

    Args:
        folder: created if it does not exist.
        stem, suffix: of the name.
        content: of the file.

    Raises:
        RunError: an error of the operating system.
    """
    with os_errors_as_run_errors(folder / f"{stem}{suffix}"):
        folder.mkdir(parents=True, exist_ok=True)
        with _temporary(folder, suffix) as part:
            part.write_bytes(content)
            return publish(part, folder, stem, suffix)


def publish(part: Path, folder: Path, stem: str, suffix: str) -> Path:
    """Renames a written file to a free name; see `save_under_free_name`."""
    number = 1
    while True:
        target = folder / f"{stem}{suffix}" if number == 1 else folder / f"{stem}-{number}{suffix}"
        if take_name(part, target):
            return target
        number += 1


def take_name(part: Path, target: Path) -> bool:
    """Renames a file on the same disk without overwriting; False if the name exists, also when processes race."""
    try:
        os.link(part, target)  # unlike a rename, it never overwrites a file
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            return False
        part.rename(target)
        return True
    part.unlink()
    return True


def temporary_name(folder: Path, suffix: str) -> Path:
    """A unique hidden name in a folder."""
    return folder / f"{PARTIAL}{os.urandom(6).hex()}{suffix}"


class FileLock:
    """A lock file for one process at a time; the lock ends with the process, even after a crash.

    Args:
        path: the lock file; created if it does not exist.
        used_for: the file that it protects, for messages.

    Attributes:
        file: the file, open for reading and writing.
        locks: False if the file system has no locks, so that two processes can write at once.

    Raises:
        RunError: another process has the lock, or an error of the operating system.
    """

    def __init__(self, path: Path, used_for: Path) -> None:
        self.path, self.locks = path, True
        while True:
            with os_errors_as_run_errors(path):
                self.file: IO[bytes] = path.open("a+b", buffering=0)
            try:
                self.locks = _lock(self.file)
            except BlockingIOError:
                self.file.close()
                raise RunError(
                    f"{used_for} is being written by another process; wait until it ends, or choose another name"
                ) from None
            if os.name == "nt" or _is_same_file(self.file, path):
                return
            self.file.close()  # the previous owner has removed it meanwhile

    def close(self) -> None:
        """Releases the lock."""
        self.file.close()


@contextmanager
def _temporary(folder: Path, suffix: str) -> Iterator[Path]:
    part = temporary_name(folder, suffix)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _lock(file: IO[bytes]) -> bool:
    """Locks a file; False if the file system has no locks.

    Raises:
        BlockingIOError: another process has it.
    """
    if sys.platform == "win32":
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
        finally:
            file.seek(0)
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _is_same_file(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is the file at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME // 2]}...{name[-_MAX_NAME // 2 :]}"
