"""The files of an export: written in a temporary folder, and moved to their names when all of them are complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vertebra.errors import RunError
from vertebra.files import os_errors_as_run_errors, take_name
from vertebra.runtimes.base import FileFormat


def export_files(path: Path, known: FileFormat) -> list[Path]:
    """All files of an export, in the order in which they are published: separate weights first, so that the model file never
    exists without them, and the metadata JSON last, so that it never exists without the model file."""
    return [*known.files(path), metadata_json_path(path)]


def metadata_json_path(path: Path) -> Path:
    """The JSON file beside an export, for tools that cannot read the metadata inside; Vertebra does not read it."""
    return path.with_name(f"{path.name}.json")


def refuse_existing(path: Path, known: FileFormat) -> None:
    """Refuses to overwrite files.

    Args:
        path: of a new export.
        known: its format.

    Raises:
        RunError: one of the files exists.
    """
    for part in export_files(path, known):
        if part.exists():
            raise _name_taken(part)


def _name_taken(path: Path) -> RunError:
    return RunError(f"{path} exists, and nothing is overwritten; choose another name")


def publish_export(made: Path, path: Path, known: FileFormat) -> None:
    """Moves all files of a finished export to their names.

    Args:
        made: the finished file, on the same disk.
        path: its name.
        known: its format.

    Raises:
        RunError: a name was taken meanwhile; the existing file stays, and nothing of this export remains.
    """
    published: list[Path] = []
    for part, target in zip(export_files(made, known), export_files(path, known), strict=True):
        if not take_name(part, target):
            for earlier in published:
                earlier.unlink()
            raise _name_taken(target)
        published.append(target)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside the target, on the same disk; it is removed afterwards."""
    with os_errors_as_run_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
