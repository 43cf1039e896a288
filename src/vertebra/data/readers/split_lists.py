"""The lists of the splits of a data set: ``train.txt``, ``val.txt`` and the like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vertebra.annotations.table import SPLITS
from vertebra.data.splits import split_of

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
