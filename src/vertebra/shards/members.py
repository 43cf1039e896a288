"""Reads files that lie in tar archives and Arrow files, by paths that continue behind the archive's name.

``shards/train-000000.tar/cat 1.jpg`` is a member of the archive ``shards/train-000000.tar``, which may also be at a URL;
``state/data-00000.arrow/image/12.jpg`` is a row of a column. Members are read into memory, and never executed or unpickled.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vertebra.errors import DataError
from vertebra.shards.arrow_rows import read_cell
from vertebra.shards.blocks import read_remote_member
from vertebra.shards.member_table import read_part
from vertebra.shards.remote import is_remote, url_of
from vertebra.shards.tar_files import member_table

TAR, ARROW = ".tar/", ".arrow/"


def file_source(path: str | Path | bytes) -> str | Path | bytes:
    """The content of a file in an archive; other files, and content, as they are.

    Raises:
        DataError: it is in an archive that cannot be read or has no such member.
    """
    if isinstance(path, bytes):
        return path
    text = os.fspath(path)
    if TAR not in text and ARROW not in text and os.sep == "/":
        return path
    content = _content(text)
    return path if content is None else content


def file_bytes(path: Path) -> bytes:
    """The bytes of a file, in an archive or not.

    Raises:
        DataError: it is in an archive that cannot be read or has no such member.
        OSError: it is a file of its own that cannot be read.
    """
    source = file_source(path)
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def copy_file(source: Path, target: Path) -> None:
    """Copies a file, in an archive or not, to one of its own.

    Raises:
        DataError: it is in an archive that cannot be read or has no such member.
        OSError: a file cannot be read or written.
    """
    content = file_source(source)
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        shutil.copyfile(source, target)


def file_size(path: Path) -> int | None:
    """Bytes of a file, in an archive or not; None if there is none."""
    if not in_archive(path):
        return path.stat().st_size if path.is_file() else None
    try:
        for archive, member in _splits(os.fspath(path), TAR):
            table = member_table(archive)
            row = table.row(os.fsencode(member))
            return int(table.sizes[row]) if row >= 0 else None
        return len(file_bytes(path))
    except DataError:
        return None


def in_archive(path: str | Path) -> bool:
    """Whether a path is that of a file in an archive."""
    text = os.fspath(path)
    return next(_splits(text, TAR), None) is not None or next(_splits(text, ARROW), None) is not None


def remote_blocks(root: Path, images: np.ndarray) -> np.ndarray | None:
    """The block that holds each image of a data set at a URL; None for a data set on disk.

    Args:
        root: folder that the images are relative to.
        images: (n,) bytes, their paths.

    Returns:
        (n,) int64, equal for images that are read at once.
    """
    if not len(images) or not is_remote(root / os.fsdecode(images[0])):
        return None
    parts = [name.partition(os.fsencode(TAR)) for name in images.tolist()]
    archives, codes = np.unique([part[0] for part in parts], return_inverse=True)
    members = np.array([part[2] for part in parts], dtype=np.bytes_)
    blocks = np.zeros(len(images), dtype=np.int64)
    start = 0
    for code, archive in enumerate(archives.tolist()):
        chosen = np.flatnonzero(codes.reshape(-1) == code)
        table = member_table(f"{(root / os.fsdecode(archive)).as_posix()}.tar")
        numbers = table.blocks[table.rows(members[chosen])]
        blocks[chosen] = start + numbers
        start += int(numbers.max()) + 1
    return blocks


def _content(text: str) -> bytes | None:
    """The content of a file in an archive; None for other files."""
    for archive, member in _splits(text, TAR):
        table = member_table(archive)
        row = table.row(os.fsencode(member))
        if row < 0:
            raise DataError(f"{text}: the archive has no such member")
        if is_remote(archive):
            return read_remote_member(url_of(archive), table, row)
        return read_part(archive, int(table.starts[row]), int(table.sizes[row]))
    for table_file, inner in _splits(text, ARROW):
        return read_cell(table_file, inner)
    return None


def _splits(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """The archive and the member, for the first part of a path that is a file."""
    text = text if os.sep == "/" else text.replace(os.sep, "/")
    remote = is_remote(text)
    at = text.find(mark)
    while at >= 0:
        archive, member = text[: at + len(mark) - 1], text[at + len(mark) :]
        if member and (remote or os.path.isfile(archive)):  # noqa: PTH113  # as in `read_part`
            yield archive, member
            return
        at = text.find(mark, at + 1)
