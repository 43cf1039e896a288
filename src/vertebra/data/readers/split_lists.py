"""The lists of the splits of a data set: ``train.txt``, ``val.txt`` and the like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra.annotations.table import SPLITS
from vertebra.data.readers.files import is_image, lines_of
from vertebra.data.readers.table_files import Table
from vertebra.data.splits import split_of

HEAD_LINES = 200  # that show what a list holds
NUMBERED_LISTS = ("images.txt", "train_test_split.txt")  # of CUB-200 and NABirds
_LIST = re.compile(r"^(train_?val|train|training|val|valid|validation|dev|test|testing)(?:[_ -]?list)?$")


def list_files(path: Path, folders: Sequence[str]) -> dict[str, Path]:
    """The lists of the splits in the first of some folders that has any; ``trainval`` counts as train if there is no train."""
    for folder in folders:
        lists: dict[str, Path] = {}
        for file in sorted((path / folder).glob("*.txt")):
            match = _LIST.match(file.stem.lower())
            if match is not None and file.is_file():
                lists.setdefault(split_of(match.group(1)) or "trainval", file)
        together = lists.pop("trainval", None)
        if together is not None:
            lists.setdefault("train", together)
        if lists:
            return {name: lists[name] for name in SPLITS if name in lists}
    return {}


def numbered_splits(path: Path) -> Mapping[str, str]:
    """The split of each image of ``images.txt`` (a number and a path a line) by ``train_test_split.txt`` (a number and 1 for
    train); empty without these files."""
    images, splits = (path / name for name in NUMBERED_LISTS)
    if not (images.is_file() and splits.is_file()):
        return {}
    codes = dict(words for line in lines_of(splits) if len(words := line.split()) == 2)
    names = [words for line in lines_of(images) if len(words := line.split(maxsplit=1)) == 2]
    return {name.strip(): "train" if codes[number] == "1" else "test" for number, name in names if number in codes}


def lists_images(file: Path) -> bool:
    """Whether one of the first lines of a text file may name an image: it has a path or an image's ending, or is one word."""
    lines = [line.replace(",", " ").split() for line in lines_of(file, HEAD_LINES)]
    return any(len(words) == 1 or any("/" in word or is_image(word) for word in words) for words in lines)


def is_split_list(name: str) -> bool:
    """Whether a file name is that of a list of a split, as ``train.txt`` or ``test_list.txt``."""
    return name.endswith(".txt") and _LIST.match(name.removesuffix(".txt")) is not None


def label_list(file: Path, head: bool = False) -> Table | None:
    """A list of images with a class behind each (``1.jpg 4``) as a table; None for other files, as lists of boxes, and for
    lists of class folders, in which each folder is a class.

    Args:
        file: the list.
        head: only its first lines.

    Raises:
        DataError: it is not UTF-8.
    """
    lines = lines_of(file, HEAD_LINES if head else None)
    rows = [line.replace("\t", " ").rsplit(maxsplit=1) for line in lines if line.strip()]
    fitting = [(image, label) for image, *rest in rows for label in rest if is_image(image) and not is_image(label)]
    if not rows or len(fitting) < len(rows) or any(label.count(",") > 2 for _, label in fitting):  # a box
        return None
    folders = {(image.rpartition("/")[0], label) for image, label in fitting}
    different = {label for _, label in fitting}
    if len(different) > 1 and len({folder for folder, _ in folders}) == len(different) == len(folders):
        return None
    return Table(file, ("image", "label"), [list(column) for column in zip(*fitting, strict=True)])
