"""Splits of class folders whose images lie in one folder, with the class of each in a list.

``val.txt`` of ImageNet (a name and the number of its class in each line), ``val/val_annotations.txt`` of Tiny ImageNet (a name and
its class, then a box).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import files_of, images_below, lines_of
from vertebra.data.splits import split_of
from vertebra.errors import DataError

Labeled = list[tuple[Path, str]]


def flat_splits(
    path: Path, folders: Mapping[str, Path], classes: Sequence[str], notes: list[Note]
) -> dict[str, Labeled]:
    """The images of each split with their class; splits without a list are left out with a note.

    Args:
        path: the data set's folder.
        folders: that of each split, whose images are in no class folders.
        classes: those of the other splits, in their order.
        notes: gets notes.

    Raises:
        DataError: a list names a class that the data set does not have.
    """
    splits: dict[str, Labeled] = {}
    for split, folder in folders.items():
        images = {image.name: image for image in images_below(folder)}
        lists = [file for top in (folder, path) for file in files_of(top, ".txt") if split_of(file.stem) == split]
        rows = next(((file, rows) for file in lists if (rows := _rows(file, images))), None)
        if rows is None:
            which = f"of split '{split}', in no class folder and in no list 'name class' beside them,"
            notes.append(Note.of("image", which, "left out", sorted(images)))
            continue
        file, named = rows
        splits[split] = [(images[name], _class_of(label, classes, file)) for name, label in named]
        done = "taken from a list"
        notes.append(Note.of("class", f"of the images of split '{split}'", done, [file.name], len(named)))
        rest = sorted(set(images) - {name for name, _ in named})
        if rest:
            notes.append(Note.of("image", f"that {file.name} does not name", "left out", rest))
    return splits


def _rows(file: Path, images: Mapping[str, Path]) -> list[tuple[str, str]]:
    """The image and the class of each line; none unless the first line has both."""
    rows = []
    for line in lines_of(file):
        words = line.split("\t") if "\t" in line else line.split()
        name = words[0].rpartition("/")[2].strip() if words else ""
        if len(words) > 1 and name in images:
            rows.append((name, words[1].strip()))
        elif words and not rows:
            return []
    return rows


def _class_of(label: str, classes: Sequence[str], file: Path) -> str:
    """A class by its name, or by its number in the order of the class folders."""
    if label in classes:
        return label
    if label.isdecimal() and len(label) < 7 and int(label) < len(classes):
        return classes[int(label)]
    raise DataError(f"{file}: class '{label[:40]}' has no class folder; the class folders are {', '.join(classes[:5])}")
