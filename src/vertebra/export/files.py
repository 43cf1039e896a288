"""The files of an export: written in a temporary folder, and moved to their names when all of them are complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vertebra.errors import RunError
from vertebra.files import os_errors_told, take_name
from vertebra.runtimes.base import FileFormat


def parts(path: Path, known: FileFormat) -> list[Path]:
    """All files of an export, in the order in which they get their names: a file's separate weights before it, so that it is never
    without them, and its metadata as JSON last, so that they are never without their file."""
    return [*known.files(path), json_beside(path)]


def json_beside(path: Path) -> Path:
    """The JSON file beside an export, for what cannot read the metadata inside; nothing of Vertebra reads it."""
    return path.with_name(f"{path.name}.json")


def refuse_existing(path: Path, known: FileFormat) -> None:
    """Nothing is overwritten.

    Args:
        path: of an export that is to be made.
        known: its format.

    Raises:
        RunError: one of the files exists.
    """
    for part in parts(path, known):
        if part.exists():
            raise _taken(part)


def _taken(path: Path) -> RunError:
    return RunError(f"{path} exists, and nothing is overwritten; choose another name")


def publish_export(made: Path, path: Path, known: FileFormat) -> None:
    """Gives all files of a finished export their names.

    Args:
        made: the finished file, on the same disk.
        path: its name.
        known: its format.

    Raises:
        RunError: a name was taken meanwhile; what is there stays, and nothing of this export is left.
    """
    published: list[Path] = []
    for part, target in zip(parts(made, known), parts(path, known), strict=True):
        if not take_name(part, target):
            for earlier in published:
                earlier.unlink()
            raise _taken(target)
        published.append(target)


@contextmanager
def workshop(path: Path) -> Iterator[Path]:
    """A temporary folder beside the target, on the same disk; it is removed afterwards."""
    with os_errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
