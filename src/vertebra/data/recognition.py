"""Whether a data set has a format, and the errors for one that has none, or none with labels for a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from vertebra.data.archives import is_archive
from vertebra.data.readers import Reader, all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import walk
from vertebra.data.readers.known_layouts import known_layout
from vertebra.errors import DataError
from vertebra.preprocess.images import SUFFIXES
from vertebra.tasks import get_task

LIST = "'vertebra data formats' describes all formats"
MOST_FOLDERS = 50  # that are searched for files of formats
SHOWN = 3  # suffixes in a message


def fits(reader: Reader, path: Path, task: str | None) -> bool:
    """Whether a data set has a format, and annotations for a task."""
    if (task is not None and task not in reader.tasks) or not reader.looks_like(path):
        return False
    return (
        task is None
        or not isinstance(reader, AnnotationReader)
        or bool(get_task(task).data.source_kinds & reader.kinds_in(path))
    )


def without_labels(folder: Path, task: str | None, format: str, able: Sequence[str]) -> DataError:
    """The error for a format that has no labels for a task.

    Args:
        able: the formats that have some.
    """
    return DataError(
        f"{folder}: format '{format}' has no labels for task '{task}', only for "
        f"{' and '.join(all_readers()[format].tasks)}; for {task} use {' or '.join(able)}"
    )


def unknown_format(folder: Path, task: str | None, able: Sequence[str]) -> DataError:
    """The error for a data set in which no annotations for a task are found: what nearly fits, and the likeliest formats.

    Args:
        task: None for any.
        able: the formats with labels for it.
    """
    reasons = _refusals(folder, able)
    known = known_layout(folder) or ("" if reasons else _archive_inside(folder))
    if known:
        return DataError(f"{folder}: {known}. {LIST}")
    other = next((name for name, reader in all_readers().items() if task and reader.looks_like(folder)), None)
    if other is None:
        likely = _likely(folder, able)
        return DataError(f"{folder}: of no known format{reasons}{likely}. {LIST}")
    text = f"format '{other}' has no labels for task '{task}', only for {' and '.join(_tasks_in(other, folder))}"
    return DataError(f"{folder}: {text}{reasons}; for {task} use {', '.join(able)}. {LIST}")


def _archive_inside(folder: Path) -> str:
    """The archive in a folder of archives, as part of a sentence; "" for other folders."""
    files = [file for file in folder.iterdir() if not file.name.startswith(".")] if folder.is_dir() else []
    archives = sorted(file for file in files if file.is_file() and is_archive(file))
    return f"it holds archives; name one of them: {archives[0]}" if archives and len(archives) == len(files) else ""


def _likely(folder: Path, names: Sequence[str]) -> str:
    """The formats of files as they are in a folder, as part of a sentence; "" if no format has such files."""
    counts = _suffixes(folder)
    readers = {name: reader for name, reader in all_readers().items() if name in names}
    formats = {name: set(getattr(reader, "suffixes", ())) & counts.keys() for name, reader in readers.items()}
    of_annotations = {name: suffixes - SUFFIXES for name, suffixes in formats.items() if suffixes - SUFFIXES}
    chosen = of_annotations or {name: suffixes for name, suffixes in formats.items() if suffixes}
    suffixes_of = {each for suffixes in chosen.values() for each in suffixes}
    shown = sorted(suffixes_of, key=lambda one: (-counts[one], one))[:SHOWN]
    likely = [name for name, suffixes in chosen.items() if suffixes & set(shown)]
    return f"; formats of {' and '.join(shown)} files: {', '.join(likely)}" if likely else ""


def _suffixes(path: Path) -> Counter[str]:
    """How many files of each suffix, in lower case, are in a folder and those below; that of the file itself."""
    if path.is_file():
        return Counter([path.suffix.lower()])
    counts: Counter[str] = Counter()
    for _, inner, names in islice(walk(path), MOST_FOLDERS):
        inner[:] = [name for name in inner if not name.startswith(".")]
        counts.update(Path(name).suffix.lower() for name in names[:1000])
    return counts


def _tasks_in(format: str, folder: Path) -> list[str]:
    """The tasks that a data set of a format has labels for."""
    reader = all_readers()[format]
    return [task for task in reader.tasks if fits(reader, folder, task)] or list(reader.tasks)


def _refusals(folder: Path, names: Sequence[str]) -> str:
    """Why formats that nearly fit were not taken, as part of a sentence."""
    readers = [reader for name, reader in all_readers().items() if name in names]
    reasons = [reader.refusal(folder) for reader in readers if isinstance(reader, AnnotationReader)]
    return "".join(f"; {reason}" for reason in reasons if reason)
