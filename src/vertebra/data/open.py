"""Opens a data set: detects its format, and reads one split of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vertebra.annotations.class_edits import ClassEdits
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.data.index import Index
from vertebra.data.lists import list_file
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader, Reader
from vertebra.data.splits import check_split
from vertebra.errors import DataError, UnknownName


def open_data(
    path: str | Path,
    task: str,
    split: str,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    seed: int = 0,
    multilabel: bool = False,
    lists: str | Path | None = None,
    edits: ClassEdits | None = None,
) -> Index:
    """Opens one split of a data set.

    A data set without splits is divided at random with a seed (80/10/10); if there is a train but no val split, a tenth of
    train becomes val.

    Args:
        path: its folder, or its annotation file.
        task: a task's name, as `vertebra.tasks.all_tasks` has it.
        split: "train", "val" or "test".
        format: a format's name, as `vertebra.data.readers.all_readers` has it; None to detect it.
        classes: class names in order, None for those of the data set. Annotations of other classes are left out, with a note.
        ignore_index: value of ignored pixels in mask files.
        seed: of the random division of a data set without splits.
        multilabel: classes that may overlap (True), or one class an image or pixel (False).
        lists: a list file with the images of the split, or a folder with ``train.txt``, ``val.txt`` and ``test.txt``, as
            ``vertebra data split`` writes them; they replace the data set's splits.
        edits: changes of the data set's classes.

    Raises:
        DataError: the data set is missing, empty, of unknown format, without labels for the task or without this split, or an
            annotation is wrong; the message names the file and a fix.
    """
    folder = Path(path)
    check_split(split)
    name = choose_format(folder, task, format)
    listed = None if classes is None else tuple(classes)
    reader = all_readers()[name]
    if edits and not isinstance(reader, AnnotationReader):
        raise DataError(f"{folder}: classes of format '{name}' cannot be merged, dropped or ignored; leave that out")
    options = ReadOptions(listed, ignore_index, seed, multilabel, edits or ClassEdits())
    index = _read(reader, folder, task, split, options, lists)
    others = [] if format is not None else [other for other in readings(folder, task) if other != name]
    if others:
        index.notes.append(
            Note.of("other reading", "of these files", f"left aside for {name}; choose with format", others)
        )
    return index


def _read(reader: Reader, path: Path, task: str, split: str, options: ReadOptions, lists: str | Path | None) -> Index:
    if lists is None:
        return reader.read(path, task, split, options)
    file = list_file(lists, split)
    if not isinstance(reader, AnnotationReader):
        raise DataError(
            f"{path}: data sets of format '{reader.name}' are not read by lists; leave out 'lists' ({file})"
        )
    return reader.read_listed(path, task, file, options)


def choose_format(path: str | Path, task: str, format: str | None = None) -> str:
    """The format of a data set, given or detected.

    Args:
        path, task, format: as `open_data` takes them.

    Raises:
        DataError: the data set is missing, empty, of unknown format or without labels for the task.
    """
    folder = Path(path)
    _exists(folder)
    readers = all_readers()
    if format is not None and format not in readers:
        raise UnknownName("data format", format, readers)
    if format is None:
        fitting = readings(folder, task)
        if fitting:
            return fitting[0]
    name = detect_format(folder) if format is None else format
    if task in readers[name].tasks:
        return name
    able = [other for other, reader in readers.items() if task in reader.tasks]
    if not able:
        raise DataError(f"{folder}: no data format has labels for task '{task}'")
    raise DataError(
        f"{folder}: format '{name}' has no labels for task '{task}', only for {' and '.join(readers[name].tasks)}; "
        f"for {task} use {' or '.join(able)}"
    )


def readings(path: Path, task: str) -> list[str]:
    """The formats with labels for a task that a data set may have, the most specific one first."""
    return [name for name, reader in all_readers().items() if task in reader.tasks and reader.looks_like(path)]


def detect_format(path: str | Path) -> str:
    """Detects the format of a data set from its folder or file, for any task.

    Raises:
        DataError: it is missing, empty, or of unknown format.
    """
    folder = Path(path)
    _exists(folder)
    for name, reader in all_readers().items():
        if reader.looks_like(folder):
            return name
    known = "; ".join(reader.summary for reader in all_readers().values())
    raise DataError(f"{folder}: of no known format. Known are: {known}")


def _exists(folder: Path) -> None:
    if not folder.exists():
        raise DataError(f"{folder}: no such folder or file")
    if folder.is_dir() and next(folder.iterdir(), None) is None:
        raise DataError(f"{folder}: this folder is empty")
