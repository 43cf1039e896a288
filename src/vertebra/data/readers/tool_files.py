"""Finds and reads the files of labeling tools."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import depth_below, files_of, walk
from vertebra.data.splits import split_of
from vertebra.errors import DataError

EDGE = 65536  # bytes at both ends of a file that show its format
MOST_FOLDERS = 50  # that are searched to detect a format
DEEPEST = 3  # folders below one another that are searched to detect a format
FIRST_FILES = 3  # of a folder, that are opened to detect a format


def root_of(path: Path) -> Path:
    """The folder of a data set that is given by its folder or its file."""
    return path.parent if path.is_file() else path


def files_below(path: Path, suffix: str) -> list[Path]:
    """The files of a suffix in a folder and those below it, by path; or the path itself if it is such a file."""
    if path.is_file():
        return [path] if path.suffix.lower() == suffix else []
    return sorted(file for folder in _folders(path) for file in files_of(folder, suffix))


def any_file(path: Path, suffix: str, fits: Callable[[bytes], bool]) -> bool:
    """Whether a file, or one of the first files of a suffix in a folder or its sub-folders, has a format.

    Args:
        path: a file or a folder.
        suffix: with its dot, in lower case.
        fits: decides by the two ends of a file, see `edges`.
    """
    if path.is_file():
        return _has(path.name, suffix) and fits(edges(path))
    folders = islice(_folders(path, DEEPEST), MOST_FOLDERS)
    return any(fits(edges(file)) for folder in folders for file in files_of(folder, suffix)[:FIRST_FILES])


def edges(file: Path) -> bytes:
    """The first and the last bytes of a file; empty if it cannot be opened."""
    try:
        with file.open("rb") as opened:
            start = opened.read(EDGE)
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(len(start), size - EDGE))
            return start + opened.read(EDGE)
    except OSError:
        return b""


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(file.read_bytes())
    except RecursionError:
        raise DataError(f"{file}: damaged, lists within lists without end; copy the file again") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{file}: damaged or cut off, not JSON ({reason}); copy the file again") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None


def read_all(
    files: Sequence[Path], read: Callable[[Path], Any], noun: str, notes: list[Note]
) -> list[tuple[Path, Any]]:
    """Files with their content; a damaged one is left out with a note.

    Args:
        read: returns the content, None for a file that is not the tool's; raises `DataError` for a damaged one.
        noun: of a file, in the note.

    Raises:
        DataError: all files are damaged.
    """
    kept: list[tuple[Path, Any]] = []
    others, damaged = [], []
    first: DataError | None = None
    for file in files:
        try:
            content = read(file)
        except DataError as error:
            first = first or error
            damaged.append(file.name)
            continue
        if content is None:
            others.append(file.name)
        else:
            kept.append((file, content))
    if first and not kept:
        raise first
    if damaged:
        notes.append(Note.of(noun, "that cannot be read", "left out with its image", damaged))
    if others:
        notes.append(Note.of("file", "of another format", "left aside", others))
    return kept


def split_in(path: str, *, last: bool = False) -> str:
    """The split in the names of a relative path's folders, the outermost first; "" if none is named so.

    Args:
        last: whether the last part counts, too.
    """
    parts = path.split("/")
    return next((split for part in (parts if last else parts[:-1]) if (split := split_of(part))), "")


def _folders(path: Path, deepest: int | None = None) -> Iterator[Path]:
    """A folder and those below it that are not hidden, down to some number of folders."""
    for folder, inner, _ in walk(path):
        ends = deepest is not None and depth_below(path, folder) >= deepest
        inner[:] = [] if ends else sorted(name for name in inner if not name.startswith("."))
        yield Path(folder)


def _has(name: str, suffix: str) -> bool:
    return name.lower().endswith(suffix) and not name.startswith(".")
