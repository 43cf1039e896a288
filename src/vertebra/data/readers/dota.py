"""DOTA: a text file for each image, with a line for each object: the four corners of its box in pixels, its class, and whether it
is difficult.

``train/images/P0000.png`` has its lines in ``train/labelTxt/P0000.txt``; the folders may have other names. A file may begin with
lines of the image's source and of its scale (``imagesource:GoogleEarth``, ``gsd:0.146``). Difficult objects are not counted, as
in DOTA.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import files_below as below
from vertebra.data.readers.files import images_below, lines_of
from vertebra.data.readers.tool_files import DEEPEST, FIRST_FILES, edges, files_below, read_all, root_of, split_in
from vertebra.data.readers.tool_objects import Problems, ToolImage, ToolObject, coordinates, of_split, tool_annotations
from vertebra.errors import DataError

_NUMBER = rb"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"  # one way to read any text: no backtracking
_LINE = re.compile(
    rb"^(?:%s[ \t]+){8}(?!%s(?:[ \t]|\r?$))\S+(?:[ \t]+[012])?[ \t]*\r?$" % (_NUMBER, _NUMBER), re.MULTILINE
)
_HEADER = re.compile(r"(?:imagesource|gsd|acquisition dates)\s*:", re.IGNORECASE)
_FIRST_LINE = re.compile(rb"\s*imagesource\s*:", re.IGNORECASE)
_UPRIGHT = re.compile(r"hbb|rec|task2", re.IGNORECASE)  # in names of folders with upright boxes of the same objects


class DotaReader(AnnotationReader):
    """DOTA's text files."""

    name = "dota"
    summary = "DOTA (a text file for each image, with four corners and a class name a line)"
    suffixes = (".txt",)
    holds = frozenset({"outlines"})

    def looks_like(self, path: Path) -> bool:
        """Whether one of the first text files that are not empty, in a folder or its sub-folders, has such a line."""
        if not path.is_dir():
            return False
        opened: dict[Path, int] = {}
        for file in below(path, lambda name: name.lower().endswith(".txt"), deepest=DEEPEST):
            count = opened.get(file.parent, 0)
            if count < FIRST_FILES and (content := edges(file)):
                opened[file.parent] = count + 1
                if _fits(content):
                    return True
        return False

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that the folders of the images or of their text files are named as."""
        named = {pair.split for pair in _pairs(path, Problems())}
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All images, with the objects of their text files.

        Raises:
            DataError: the folder has no label file of DOTA, or no label file has an image.
        """
        root, problems = root_of(path), Problems()
        pairs = _pairs(path, problems)
        files = [pair.labels for pair in pairs if pair.labels is not None]
        if not files:
            raise DataError(
                f"{path}: no text file of DOTA (four corners and a class name a line) with an image of its name"
            )
        read = dict(read_all(files, lines_of, "label file", problems.noted))
        images = []
        for pair in pairs:
            if pair.labels is not None and pair.labels not in read:
                continue
            name = pair.image.relative_to(root).as_posix()
            file = "" if pair.labels is None else pair.labels.relative_to(root).as_posix()
            image = ToolImage(name, split=pair.split, file=file, annotated=pair.labels is not None)
            if pair.labels is None:
                problems.add("image", "without a label file", "taken as not annotated", pair.image.name)
            else:
                image.objects = _objects(read[pair.labels], pair.labels.name, problems)
            images.append(image)
        return of_split(tool_annotations(images, [image.name for image in images], root, path, (), problems), split)


@dataclass(frozen=True)
class _Pair:
    """An image, its text file, and the split that their folders name."""

    image: Path
    labels: Path | None
    split: str


def _fits(content: bytes) -> bool:
    return _FIRST_LINE.match(content) is not None or _LINE.search(content) is not None


def _pairs(path: Path, problems: Problems) -> list[_Pair]:
    """All images with their text files, which are those of folders with at least one of DOTA, and of folders of the same names."""
    root = root_of(path)
    by_folder: dict[Path, list[Path]] = {}
    for file in files_below(path, ".txt"):
        by_folder.setdefault(file.parent, []).append(file)
    names = {folder.name for folder, files in by_folder.items() if any(_fits(edges(file)) for file in files)}
    labels = [file for folder, files in by_folder.items() if folder.name in names for file in files]
    images: dict[str, list[Path]] = {}
    for image in images_below(root):
        images.setdefault(_stem(image), []).append(image)
    chosen: dict[Path, Path] = {}
    for file in sorted(labels, key=lambda file: (bool(_UPRIGHT.search(file.relative_to(root).as_posix())), file)):
        nearest = _nearest(file, images.get(_stem(file), ()), root)
        if nearest is None:
            problems.add("label file", "without an image", "left out", file.name)
        elif nearest in chosen:
            problems.add("label file", "of an image that has another", "left aside", file.relative_to(root).as_posix())
        else:
            chosen[nearest] = file
    return [
        _Pair(image, chosen.get(image), _split(image, chosen.get(image), root))
        for image in sorted(image for group in images.values() for image in group)
    ]


def _stem(file: Path) -> str:
    return unicodedata.normalize("NFC", file.stem)


def _nearest(file: Path, images: Sequence[Path], root: Path) -> Path | None:
    """The image of a text file: of the same split, and in the nearest folder."""
    split = split_in(file.relative_to(root).as_posix())
    fitting = [image for image in images if split_in(image.relative_to(root).as_posix()) in (split, "") or not split]
    shared = {image: len(os.path.commonpath([file, image])) for image in fitting}
    return max(fitting, key=lambda image: shared[image], default=None)


def _split(image: Path, labels: Path | None, root: Path) -> str:
    named = split_in(image.relative_to(root).as_posix())
    return named or ("" if labels is None else split_in(labels.relative_to(root).as_posix()))


def _objects(lines: Sequence[str], name: str, problems: Problems) -> list[ToolObject]:
    """The objects of a text file."""
    objects = []
    for line in lines:
        words = line.split()
        if not words:
            continue
        if _HEADER.match(line.strip()):
            problems.add("line", "of an image's source or scale", "left aside", name)
            continue
        corners = coordinates(words[:8], 8)
        if corners is None or not 9 <= len(words) <= 10:
            problems.drop("without eight numbers, a class name and 0 or 1 in a line", name)
            continue
        difficult = words[9] if len(words) == 10 else "0"
        if difficult not in ("0", "1", "2"):
            problems.drop("whose last value, whether it is difficult, is not 0, 1 or 2", name)
            continue
        objects.append(ToolObject(words[8], outlines=[np.asarray(corners)], crowd=difficult != "0"))
    return objects
