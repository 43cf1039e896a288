"""The lists of the splits of a data set: ``train.txt``, ``val.txt`` and the like."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra.annotations.table import SPLITS
from vertebra.data.readers.files import lines_of
from vertebra.data.splits import split_of

NUMBERED_LISTS = ("images.txt", "train_test_split.txt")  # of CUB-200 and NABirds
_LIST = re.compile(r"^(trainval|train|training|val|valid|validation|dev|test|testing)(?:[_ -]?list)?$")


def list_files(path: Path, folders: Sequence[str]) -> dict[str, Path]:
    """The lists of the splits in the first of some folders that has any; ``trainval`` counts as train if there is no train."""
    for folder in folders:
        lists: dict[str, Path] = {}
        for file in sorted((path / folder).glob("*.txt")):
            match = _LIST.match(file.stem.lower())
            if match is not None and file.is_file():
                lists.setdefault(split_of(match.group(1)) or match.group(1), file)
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
