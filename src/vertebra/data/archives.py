"""Data sets in zip and tar files: unpacked once into the user's cache folder, under a name made from their content."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO

from vertebra.errors import DataError
from vertebra.files import cache_folder, os_error_sentence

ZIP_SUFFIXES = (".zip",)
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MOST_BYTES = 1 << 40  # of all files of an archive
MOST_FILES = 5_000_000
FREE_BYTES = 1 << 30  # that stay free on the disk
RATIO = 100  # most bytes of the files for each byte of an archive, if they are more than SMALL in all
SMALL = 1 << 30
BLOCK = 1 << 20
MOST_TRAILING = 1 << 26  # bytes that are read behind the last file of a tar file
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class Member:
    """A file of an archive.

    Attributes:
        name: its path, with forward slashes.
        size: in bytes, as the archive has it.
        open: opens its content.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a path is a zip or tar file, by its name."""
    return path.name.lower().endswith((*ZIP_SUFFIXES, *TAR_SUFFIXES)) and path.is_file()


def unpacked(path: Path) -> Path:
    """The folder with the files of an archive, which is unpacked if that was not done before.

    Args:
        path: a zip or tar file.

    Raises:
        DataError: the archive is damaged or encrypted, or it has links, paths that lead out of its folder, or more or larger files
            than the limits of this module allow; or the disk is full.
    """
    try:
        status = path.stat()
        folder = cache_folder() / "archives" / f"{_plain(path.name)}-{_key(path, status.st_size, status.st_mtime_ns)}"
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        try:
            _unpack(path, part)
            with contextlib.suppress(OSError):  # another process was first
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be unpacked: {os_error_sentence(error)}") from None
    if not folder.is_dir():
        raise DataError(f"{path}: cannot be unpacked into {folder}")
    return folder


@cache
def _key(path: Path, size: int, modified: int) -> str:
    """A name for the content of an archive: of a zip file by its table of names, sizes and checksums.

    Args:
        size, modified: of the file, so that a changed file is read again.
    """
    digest = hashlib.blake2b(digest_size=12)
    if path.name.lower().endswith(ZIP_SUFFIXES):
        with _damage_as_error(path), zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                digest.update(f"{info.filename}\0{info.file_size}\0{info.CRC}\n".encode("utf-8", "surrogatepass"))
    else:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _unpack(path: Path, folder: Path) -> None:
    """Writes the files of an archive into an empty folder."""
    packed = path.stat().st_size
    limit = min(MOST_BYTES, shutil.disk_usage(folder).free - FREE_BYTES)
    total = count = 0
    members = _zip_members if path.name.lower().endswith(ZIP_SUFFIXES) else _tar_members
    with _damage_as_error(path), _progress(path) as report:
        for member in members(path):
            target = _target(member.name, folder, path)
            if target is None:
                continue
            count, total = count + 1, total + member.size
            if count > MOST_FILES or total > MOST_BYTES or (total > SMALL and total > RATIO * packed):
                raise DataError(
                    f"{path}: {total >> 20} MB or {count} files in an archive of {packed >> 10} kB, which may be a decompression "
                    f"bomb; at most {RATIO} times its size, {MOST_BYTES >> 40} TB and {MOST_FILES} files are unpacked"
                )
            if total > limit:
                raise DataError(
                    f"{path}: its files need more than the {limit >> 20} MB that are free in {folder.parent}"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, target.open("wb") as file:
                _copy(source, file, member, path)
            report(count)
    if not count:
        raise DataError(f"{path}: this archive is empty")


def _copy(source: IO[bytes], target: IO[bytes], member: Member, path: Path) -> None:
    left = member.size
    while left > 0 and (block := source.read(min(BLOCK, left))):
        target.write(block)
        left -= len(block)
    if left:
        raise DataError(f"{path}: damaged or cut off in {_in_message(member.name)}; copy the file again")


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise DataError(f"{path}: encrypted; unpack it with its password")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise DataError(
                    f"{path}: {_in_message(info.filename)} is a link or a device, which is not unpacked; pack the files themselves"
                )
            yield Member(_zip_name(info), info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]


def _in_message(name: str) -> str:
    """The name of a file on one line."""
    return " ".join(name.split())[:200]


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name of a file; one in UTF-8 that is not marked as such is read rightly, too."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar_members(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            if info.isdir():
                continue
            if not info.isreg():
                raise DataError(
                    f"{path}: {_in_message(info.name)} is a link or a device, which is not unpacked; pack the files themselves"
                )
            yield Member(info.name, info.size, lambda info=info: _tar_content(archive, info, path))  # type: ignore[misc]
        _check_end(archive, path)


def _check_end(archive: tarfile.TarFile, path: Path) -> None:
    """Checks that a tar file ends as one does, since `tarfile` takes a damaged header for the end; and its checksum, if it has one.

    Raises:
        DataError: it does not.
    """
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DataError(f"{path}: damaged or cut off after {len(archive.getnames())} files; copy the file again")
    for _ in range(MOST_TRAILING // BLOCK):
        if not file.read(BLOCK):
            break


def _tar_content(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> IO[bytes]:
    content = archive.extractfile(info)
    if content is None:
        raise DataError(f"{path}: damaged or cut off in {_in_message(info.name)}; copy the file again")
    return content


def _target(name: str, folder: Path, path: Path) -> Path | None:
    """The file that a name is unpacked to; None for what file managers add.

    Raises:
        DataError: the name leads out of the folder.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] in _JUNK or parts[-1] in _JUNK or parts[-1].startswith("._"):
        return None
    if parts[0].startswith("/") or ".." in parts or "\0" in name or (len(parts[0]) > 1 and parts[0][1] == ":"):
        raise DataError(
            f"{path}: {name!r} leads out of the folder that it is unpacked into; pack it again with plain names"
        )
    return folder.joinpath(*parts)


@contextlib.contextmanager
def _damage_as_error(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        if error.errno is None:  # of a damaged gzip or xz stream
            raise DataError(f"{path}: damaged or cut off ({error}); copy the file again") from None
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors raise a dozen types on damaged archives
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise DataError(
            f"{path}: damaged or cut off, no archive that can be read ({reason}); copy the file again"
        ) from None


@contextlib.contextmanager
def _progress(path: Path) -> Iterator[Callable[[int], None]]:
    """Shows the number of unpacked files on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("unpacking {task.description}: {task.completed} files"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(path.name)
        yield lambda count: progress.update(task, completed=count)


def _plain(name: str) -> str:
    """The first letters of a name that any file system takes."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name.partition(".")[0])[:40]
