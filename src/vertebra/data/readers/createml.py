"""Create ML: a JSON list of images with their boxes, each given by its center, width and height in pixels.

The classes of whole images, as Create ML's multi-label classifier takes them, are a list of names in place of the boxes. The file
lies with the images, in one folder or in one for each split, as Roboflow writes it (``train/_annotations.createml.json``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import relative
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.readers.tool_files import any_file, files_below, read_all, read_json, root_of, split_in
from vertebra.data.readers.tool_objects import (
    Problems,
    ToolImage,
    ToolObject,
    coordinates,
    of_split,
    text,
    tool_annotations,
)
from vertebra.errors import DataError
from vertebra.preprocess.images import image_size

_NAMES = ("image", "imagefilename", "filename")
_ENTRY = re.compile(rb'"(?:image|imagefilename|filename)"\s*:', re.IGNORECASE)
_LISTS = re.compile(rb'"annotations?"\s*:\s*\[\s*(?:\]|"|\{[^{}]*"(?:coordinates|label)"\s*:)', re.IGNORECASE)
_OTHERS = re.compile(rb'"(?:completed_by|predictions|annotation_id|original_width)"\s*:')  # of Label Studio


class CreateMlReader(AnnotationReader):
    """Create ML's JSON."""

    name = "createml"
    summary = "Create ML (a JSON list of images with boxes)"
    suffixes = (".json",)
    holds = frozenset({"labels", "boxes"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file, or one of the first JSON files in a folder, is Create ML's."""
        return any_file(path, ".json", _fits)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that folders or files are named as."""
        named = {split_in(name, last=True) for name in _relative_files(path)}
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All images of the files.

        Raises:
            DataError: there is no such file, all are damaged, or none of the images exists.
        """
        root, problems = root_of(path), Problems()
        read = read_all(files_below(path, ".json"), _document, "annotation file", problems.noted)
        if not read:
            raise DataError(f"{path}: no JSON file of Create ML (a list of 'image' and 'annotations') in it")
        images: list[ToolImage] = []
        paths: list[str] = []
        for file, entries in read:
            name = file.relative_to(root).as_posix()
            part = [image for entry in entries if (image := _image(entry, name, problems)) is not None]
            folders = image_folders([file.parent, root], split_in(name, last=True))
            paths += resolve_images([image.name for image in part], folders, root, file, problems.noted)
            images += part
        _scale_fractions(images, paths, root, problems)
        return of_split(tool_annotations(images, paths, root, path, (), problems), split)


def _relative_files(path: Path) -> list[str]:
    """The names of the files, relative to the data set's folder."""
    return relative([file for file in files_below(path, ".json") if any_file(file, ".json", _fits)], root_of(path))


def _fits(content: bytes) -> bool:
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return False
    return bool(_ENTRY.search(content) and _LISTS.search(content) and not _OTHERS.search(content))


def _document(file: Path) -> Sequence[Any] | None:
    entries = read_json(file) if any_file(file, ".json", _fits) else None
    return entries if isinstance(entries, list) else None


def _image(entry: Any, file: str, problems: Problems) -> ToolImage | None:
    values = {key.lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
    name = next((text(values[key]) for key in _NAMES if key in values), "")
    marks = values.get("annotations", values.get("annotation"))
    if not name or not isinstance(marks, (list, str)):
        problems.add("entry", "without an image's name or a list of annotations", "dropped", file)
        return None
    image = ToolImage(name, split=split_in(file, last=True))
    for mark in [marks] if isinstance(marks, str) else marks:
        if isinstance(mark, dict):
            one = _object(mark, name, problems)
            image.objects += [] if one is None else [one]
        elif text(mark):
            image.labels.append(text(mark))
        else:
            problems.drop("without a label", name)
    return image


def _object(mark: Mapping[str, Any], name: str, problems: Problems) -> ToolObject | None:
    label, box = text(mark.get("label")), mark.get("coordinates")
    if not label:
        problems.drop("without a label", name)
        return None
    sides = [box.get(key) for key in ("x", "y", "width", "height")] if isinstance(box, dict) else []
    numbers = coordinates(sides, 4)
    if numbers is None:
        problems.drop("without finite x, y, width and height", name)
        return None
    x, y, width, height = numbers.tolist()
    return ToolObject(label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _scale_fractions(images: Sequence[ToolImage], paths: Sequence[str], root: Path, problems: Problems) -> None:
    """Boxes that are all within 0..1 are taken as shares of their image, since a file does not name its units."""
    boxes = np.array([one.box for image in images for one in image.objects], dtype=np.float64).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    if not len(boxes) or boxes.max() > 1 or boxes.min() < 0 or sides.max() <= 0:
        return
    for image, path in zip(images, paths, strict=True):
        if not path or not image.objects:
            continue
        try:
            height, width = image_size(root / path)
        except DataError:
            height, width = 0, 0
        for one in image.objects:
            problems.add("box", "within 0..1", "taken as shares of the image's width and height", image.name)
            one.box = tuple((np.array(one.box) * [width, height, width, height]).tolist())
