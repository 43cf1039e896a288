"""Opens a data set: detects its format, and reads one split of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vertebra.annotations.class_edits import ClassEdits
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.data.archives import is_archive, unpacked
from vertebra.data.index import Index
from vertebra.data.lists import list_file
from vertebra.data.readers import Reader, all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import folders_in
from vertebra.data.readers.hub import is_hub_name
from vertebra.data.readers.shard_list import is_shard_path
from vertebra.data.recognition import fits, unknown_format, without_labels
from vertebra.data.splits import check_split, split_of
from vertebra.errors import DataError, UnknownName
from vertebra.shards.remote import is_address
from vertebra.tasks import KEY_SEPARATOR

CLASS_FOLDERS = "image_folder"
ALONE = "that is alone in the data set's"
DEEPEST = 4  # folders that are entered because they are the only one
_ASIDE = frozenset({".md", ".pdf", ".html", ".rst", ".zip", ".bib"})
_ASIDE_NAMES = ("readme", "licen", "__macosx")


@dataclass(frozen=True)
class DataSet:
    """A data set with its format.

    Attributes:
        path: its folder or file, after archives are unpacked and lone folders are entered.
        format: the name of its format.
        notes: about the path, and formats that it could be read in instead.
    """

    path: Path
    format: str
    notes: list[Note] = field(default_factory=list)


SHARDS, HUB_FORMAT = "tar_shards", "hf"
TABLE = "table"  # the format whose columns a user can name


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
    columns: Mapping[str, str | int] | None = None,
    annotated: Sequence[str] | None = None,
    outlines: bool = False,
) -> Index:
    """Opens one split of a data set.

    A data set without splits is divided at random with a seed (80/10/10); if there is a train but no val split, a tenth of
    train becomes val.

    Args:
        path: its folder, its annotation file, or a zip or tar file of it, which is unpacked into the user's cache folder.
        task: a task's name, as `vertebra.tasks.all_tasks` has it, or a key of `vertebra.tasks.column_key`: "box_attributes:color".
        split: "train", "val" or "test".
        format: a format's name, as `vertebra.data.readers.all_readers` has it; None to detect it.
        classes: class names in order, None for those of the data set. Annotations of other classes are left out, with a note.
        ignore_index: value of ignored pixels in mask files.
        seed: of the random division of a data set without splits.
        multilabel: classes that may overlap (True), or one class an image or pixel (False).
        lists: a list file with the images of the split, or a folder with ``train.txt``, ``val.txt`` and ``test.txt``, as
            ``vertebra data split`` writes them; they replace the data set's splits.
        edits: changes of the data set's classes.
        columns: the columns of a table to read as "image", "label", "split", "xmin" …, where their names do not show this.
        annotated: the classes that are annotated; others are neither learned nor measured on these images. None for all.
        outlines: whether boxes are to know how far the outlines of their objects reach, for images that are rotated in training.

    Raises:
        DataError: the data set is missing, empty, of unknown format, without labels for the task or without this split, or an
            annotation is wrong; the message names the file and a fix.
    """
    check_split(split)
    plain, _, attribute = task.partition(KEY_SEPARATOR)
    data_set = find_data(path, plain, TABLE if columns and format is None else format)
    listed = None if classes is None else tuple(classes)
    reader = all_readers()[data_set.format]
    if edits and not isinstance(reader, AnnotationReader):
        raise DataError(
            f"{path}: classes of format '{data_set.format}' cannot be merged, dropped or ignored; leave that out"
        )
    if annotated is not None and not isinstance(reader, AnnotationReader):
        raise DataError(
            f"{path}: format '{data_set.format}' is not read with a list of annotated classes; leave 'annotated' out"
        )
    pairs = tuple((role, str(name)) for role, name in (columns or {}).items())
    scope = None if annotated is None else tuple(annotated)
    options = ReadOptions(
        listed, ignore_index, seed, multilabel, edits or ClassEdits(), pairs, scope, outlines, attribute
    )
    index = _read(reader, data_set.path, task, split, options, lists)
    index.notes[:0] = data_set.notes
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


def find_data(path: str | Path, task: str | None, format: str | None = None) -> DataSet:
    """The files of a data set and their format; an archive is unpacked, and a folder that is alone in its folder is entered.

    Args:
        path, format: as `open_data` takes them.
        task: as `open_data` takes it; None for any.

    Raises:
        DataError: the data set is missing, empty, of unknown format or without labels for the task.
    """
    readers = all_readers()
    if format is not None and format not in readers:
        raise UnknownName("data format", format, readers)
    able = [name for name, reader in readers.items() if task is None or task in reader.tasks]
    if not able:
        raise DataError(f"{path}: no data format has labels for task '{task}'")
    if format is not None and format not in able:
        raise without_labels(Path(path), task, format, able)
    named = _named_format(Path(path), format)
    if named is not None:
        return DataSet(Path(path), named)
    folder, notes = _unpacked(Path(path))
    _exists(folder)
    if format not in (None, CLASS_FOLDERS) and readers[str(format)].looks_like(folder):
        return DataSet(folder, str(format), notes)
    outer = readings(folder, task)
    chosen = outer if format is None else [format] * readers[format].looks_like(folder)
    entered = _entered(folder, task, format) if not chosen or set(outer) == {CLASS_FOLDERS} else None
    if entered is not None:
        name = entered.path.relative_to(folder).as_posix()
        entered_note = Note.of("folder", ALONE, "entered", [name])
        return DataSet(entered.path, entered.format, [*notes, entered_note, *entered.notes])
    if format is not None:
        return DataSet(folder, format, notes)
    if chosen:
        return DataSet(folder, chosen[0], [*notes, *_other_readings(chosen)])
    raise unknown_format(folder, task, able)


def choose_format(path: str | Path, task: str, format: str | None = None) -> str:
    """The format of a data set, given or detected.

    Args:
        path, task, format: as `open_data` takes them.

    Raises:
        DataError: the data set is missing, empty, of unknown format or without labels for the task.
    """
    return find_data(path, task, format).format


def readings(path: Path, task: str | None) -> list[str]:
    """The formats with labels for a task (None for any) that a data set may have, the most specific one first."""
    named = _named_format(path, None) if is_address(path) else None
    return [name for name, reader in all_readers().items() if name == named or (not named and fits(reader, path, task))]


def detect_format(path: str | Path) -> str:
    """Detects the format of a data set from its folder or file, for any task.

    Raises:
        DataError: it is missing, empty, or of unknown format.
    """
    return find_data(path, None).format


def _named_format(path: Path, format: str | None) -> str | None:
    """The format of a data set that is neither a folder nor to be unpacked: tar shards, or one of the Hugging Face hub.

    Raises:
        DataError: another format is asked for.
    """
    if is_hub_name(path):
        name = HUB_FORMAT
    elif is_shard_path(path) or (format == SHARDS and path.is_file()):
        name = SHARDS
    else:
        return None
    if format not in (None, name):
        if is_address(path):
            raise DataError(
                f"{path}: at an address only the format '{name}' is read; leave format out, or copy the data here"
            )
        return None
    return name


def _unpacked(path: Path) -> tuple[Path, list[Note]]:
    if not is_archive(path):
        return path, []
    folder = unpacked(path)
    return folder, [Note.of("archive", "", f"unpacked into {folder}", [path.name])]


def _lone_folders(path: Path) -> list[Path]:
    """The folder that is alone in a folder, but for files about the data set; the one that is alone in that one …"""
    folders: list[Path] = []
    while path.is_dir() and len(folders) < DEEPEST:
        inner = [folder for folder in folders_in(path) if not folder.name.lower().startswith(_ASIDE_NAMES)]
        files = [entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")]
        content = [f for f in files if f.suffix.lower() not in _ASIDE and not f.name.lower().startswith(_ASIDE_NAMES)]
        if len(inner) != 1 or content or split_of(inner[0].name):
            break
        path = inner[0]
        folders.append(path)
    return folders


def _entered(folder: Path, task: str | None, format: str | None) -> DataSet | None:
    """The data set in a folder that is alone in its folder; of class folders the deepest, since a class alone is no data set."""
    entered: DataSet | None = None
    for inner in _lone_folders(folder):
        fitting = readings(inner, task)
        chosen = next(iter(fitting), None) if format is None else format
        if chosen is None or chosen not in fitting:
            continue
        entered = DataSet(inner, chosen, _other_readings(fitting) if format is None else [])
        if chosen != CLASS_FOLDERS:
            break
    return entered


def _other_readings(fits: Sequence[str]) -> list[Note]:
    """A note about the formats that a data set could be read in instead of the first one; none without any."""
    which, done = "of these files", f"left aside for {fits[0]}; choose with format"
    return [Note.of("other reading", which, done, list(fits[1:]))] if fits[1:] else []


def _exists(folder: Path) -> None:
    if not folder.exists():
        raise DataError(f"{folder}: no such folder or file")
    if folder.is_dir() and next(folder.iterdir(), None) is None:
        raise DataError(f"{folder}: this folder is empty")
