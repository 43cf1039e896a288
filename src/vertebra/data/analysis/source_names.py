"""The image that a copy or crop was made from, by its file name."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Sequence

from vertebra.data.splits import split_of

ROBOFLOW = re.compile(r"^(.+)[_.](?:jpe?g|png|bmp|webp|tiff?|gif)\.rf\.[0-9A-Za-z]{10,}$", re.IGNORECASE)
DERIVED = re.compile(
    r"[ _.\-]+(?:crop(?:ped)?|patch|tile|aug(?:mented|mentation|ment)?|[hv]?flip(?:ped)?|rot(?:ated?)?|mirror(?:ed)?|copy)"
    r"\d*(?:[ _.\-(]+\d+\)?)*$",
    re.IGNORECASE,
)
_HINTS = ("crop", "patch", "tile", "aug", "flip", "rot", "mirror", "copy", ".rf.")  # every derived name has one


def source_names(paths: Sequence[str]) -> list[str]:
    """For each image the path, without extension and folders of splits, of the image that it was made from.

    A word such as "crop" or "aug" at the end counts if what is before it names one image: it has a digit, or is the name of an
    image of the set. ``image_crop_1`` to ``image_crop_900`` are not crops of one image "image".

    Args:
        paths: with ``/``.
    """
    folders = [folder_key(path) for path in paths]
    stems = [stem_of(path) for path in paths]
    names = "\n".join(stems).lower()
    if not any(hint in names for hint in _HINTS):
        return [f"{folder}/{stem}" for folder, stem in zip(folders, stems, strict=True)]
    exported = [match[1] if (match := ROBOFLOW.match(stem)) else stem for stem in stems]
    existing: dict[str, set[str]] = defaultdict(set)
    for folder, stem in zip(folders, exported, strict=True):
        existing[folder].add(stem)
    return [f"{folder}/{_source(stem, existing[folder])}" for folder, stem in zip(folders, exported, strict=True)]


def folder_key(path: str) -> str:
    """The folder of a path, without components that name a split."""
    return _without_splits(path.rpartition("/")[0])


@functools.lru_cache(maxsize=4096)
def _without_splits(folder: str) -> str:
    return "/".join(part for part in folder.split("/") if split_of(part) is None)


def stem_of(path: str) -> str:
    """The file name of a path without its extension."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _source(stem: str, existing: set[str]) -> str:
    """The name without words for what was done to the image, several of them if need be."""
    source = before = stem
    while match := DERIVED.search(before):
        before = before[: match.start()]
        if any(character.isdigit() for character in before) or (before and before in existing):
            source = before
    return source
