"""LabelMe: a JSON file beside each image, with shapes and flags.

The image is found by ``imagePath``, or else by the name of the JSON file; a picture in ``imageData`` is not read. Shapes of one
label and ``group_id`` are one object; points of a group belong to the object of the group, and are named by their labels.
Flags of an image that are set are its classes. Folders named as splits are the splits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.drawing import ellipse_outline
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.annotations.values import flag
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import exist, is_image, relative
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.readers.tool_files import any_file, files_below, read_all, read_json, root_of, split_in
from vertebra.data.readers.tool_masks import base64_bytes, picture_mask
from vertebra.data.readers.tool_objects import (
    Problems,
    ToolImage,
    ToolObject,
    coordinates,
    encode_masks,
    join_parts,
    of_split,
    size_of,
    text,
    tool_annotations,
)
from vertebra.errors import DataError

ANONYMOUS = "object"  # the class of grouped points without a shape that names it
NOT_OBJECTS = ("__ignore__", "_background_")
_WITHOUT_AREA = ("line", "linestrip", "points")


class LabelMeReader(AnnotationReader):
    """LabelMe's JSON files."""

    name = "labelme"
    summary = "LabelMe (a JSON file beside each image)"
    suffixes = (".json",)
    holds = frozenset({"labels", "boxes", "outlines", "points"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file, or one of the first JSON files in a folder, is LabelMe's."""
        return any_file(path, ".json", _fits)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that folders are named as."""
        named = {split_in(name) for name in relative(files_below(path, ".json"), root_of(path))}
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All images that have a JSON file.

        Raises:
            DataError: there is no file of LabelMe, all are damaged, or none of the images exists.
        """
        root, problems = root_of(path), Problems()
        notes = problems.noted
        read = read_all(files_below(path, ".json"), _document, "annotation file", notes)
        if not read:
            raise DataError(f"{path}: no JSON file of LabelMe (with 'shapes' and 'imagePath') in it")
        names = relative([file for file, _ in read], root)
        images = [_image(name, document, problems) for name, (_, document) in zip(names, read, strict=True)]
        if not path.is_file():
            _note_bare_images(root, images, notes)
        _take_siblings(images, root, notes)
        paths = resolve_images([image.name for image in images], image_folders([root]), root, path, notes)
        return of_split(tool_annotations(images, paths, root, path, (), problems), split)


def _fits(content: bytes) -> bool:
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and all(
        re.search(rb'"%s"\s*:' % key, content) for key in (b"shapes", b"imagePath")
    )


def _document(file: Path) -> Mapping[str, Any] | None:
    document = read_json(file)
    fits = isinstance(document, dict) and isinstance(document.get("shapes"), list) and "imagePath" in document
    return document if fits else None


def _image(file: str, document: Mapping[str, Any], problems: Problems) -> ToolImage:
    """An image with its objects; its name is still relative to the JSON file."""
    flags = document.get("flags")
    set_flags = [key for key, value in flags.items() if flag(value)] if isinstance(flags, dict) else []
    grouped: dict[Any, list[ToolObject]] = {}
    points: dict[str, list[tuple[str, ToolObject]]] = {}
    for index, shape in enumerate(document["shapes"]):
        one = _object(shape, file, problems)
        if one is None:
            continue
        group = text(shape.get("group_id"))
        if one.points:
            points.setdefault(group, []).append((one.name, one))
        else:
            grouped.setdefault((group, one.name) if group else index, []).append(one)
    objects = [join_parts(parts) for parts in grouped.values()]
    for group, members in points.items():
        objects += _with_points(group, members, objects, grouped, file, problems)
    size = size_of(document.get("imageHeight"), document.get("imageWidth"))
    name = text(document["imagePath"]) or f"{Path(file).stem}.jpg"
    folder = f"{file.rpartition('/')[0]}/" if "/" in file else ""
    image = ToolImage(folder + name, objects, set_flags, size, split_in(file), file=file)
    encode_masks(image, problems)
    return image


def _with_points(
    group: str,
    members: list[tuple[str, ToolObject]],
    objects: list[ToolObject],
    grouped: Mapping[Any, list[ToolObject]],
    file: str,
    problems: Problems,
) -> list[ToolObject]:
    """Gives the points of a group to its object; a new object if the group has no other shape."""
    if not group:
        for _ in members:
            problems.add("point", "without a group_id", "left out", file)
        return []
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        for _ in members:
            problems.add("point", "of a group with several points of one label", "dropped", file)
        return []
    points = {name: one.points[name] for name, one in members}
    keys = [key for key in grouped if isinstance(key, tuple) and key[0] == group]
    if len(keys) == 1:
        objects[list(grouped).index(keys[0])].points.update(points)
        return []
    if keys:
        for _ in members:
            problems.add("point", "of a group with objects of several labels", "dropped", file)
        return []
    problems.add("object", "with only points", f"read as class '{ANONYMOUS}'", file)
    return [ToolObject(ANONYMOUS, points=points, attributes={"group_id": group})]


def _object(shape: Any, file: str, problems: Problems) -> ToolObject | None:
    """One shape; None if it is wrong or of no use."""
    if not isinstance(shape, dict) or not text(shape.get("label")):
        problems.drop("without a label", file)
        return None
    one = ToolObject(text(shape["label"]), crowd=bool(flag(shape.get("difficult"))), attributes=_attributes(shape))
    kind = text(shape.get("shape_type")) or "polygon"
    if one.name in NOT_OBJECTS or kind in _WITHOUT_AREA:
        which = f"labeled '{one.name}'" if one.name in NOT_OBJECTS else f"drawn as {kind}, without an area,"
        problems.add("shape", which, "left out", file)
        return None
    numbers = coordinates(shape.get("points"))
    if numbers is None or len(numbers) % 2 or not _draw(one, kind, numbers, shape, partial(problems.add, name=file)):
        problems.drop(f"without finite coordinates of a {kind}", file)
        return None
    return one


def _draw(one: ToolObject, kind: str, numbers: np.ndarray, shape: Mapping[str, Any], note: partial[None]) -> bool:
    """Sets an object's box, outline, mask or point; False if the numbers do not fit."""
    points = numbers.reshape(-1, 2)
    match kind, len(points):
        case "rectangle", 2 | 4:
            one.box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
        case "polygon", count if count >= 3:
            one.outlines.append(numbers)
        case "oriented_rectangle" | "rotation", 4:
            one.outlines.append(numbers)
            note("turned box", "", "read as an outline of four corners")
        case "circle", 2:
            radius = float(np.hypot(*(points[1] - points[0])))
            one.outlines.append(ellipse_outline(points[0].tolist(), (radius, radius)))
        case "point", 1:
            one.points[one.name] = (numbers[0], numbers[1], 2.0)
        case "mask", 2:
            return _draw_mask(one, points, shape)
        case _:
            return False
    return True


def _draw_mask(one: ToolObject, points: np.ndarray, shape: Mapping[str, Any]) -> bool:
    content = base64_bytes(shape.get("mask"))
    mask = None if content is None else picture_mask(content)
    if mask is None:
        return False
    left, top = np.rint(points.min(axis=0)).astype(int).tolist()
    one.patches.append((mask, left, top))
    return True


def _attributes(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that are set, the description and the group, as far as a shape has them."""
    flags, more = shape.get("flags"), shape.get("attributes")
    values = {str(key): True for key, value in flags.items() if flag(value)} if isinstance(flags, dict) else {}
    values |= {str(key): value for key, value in more.items()} if isinstance(more, dict) else {}
    return values | {key: shape[key] for key in ("description", "group_id") if shape.get(key) not in (None, "")}


def _take_siblings(images: list[ToolImage], root: Path, notes: list[Note]) -> None:
    """Images that do not exist as named get the image beside their JSON file that has its name."""
    plain = [os.path.normpath(image.name.replace("\\", "/")) for image in images]
    there = exist(root, plain)
    beside: dict[str, dict[str, str]] = {}
    taken = []
    for image, exists in zip(images, there.tolist(), strict=True):
        folder, _, file = image.file.rpartition("/")
        if exists:
            continue
        if folder not in beside:
            listed = [entry.name for entry in os.scandir(root / folder) if is_image(entry.name)]
            beside[folder] = {name.rpartition(".")[0]: name for name in listed}
        sibling = beside[folder].get(file.rpartition(".")[0])
        if sibling and sibling != re.split(r"[\\/]", image.name)[-1]:
            image.name = f"{folder}/{sibling}" if folder else sibling
            taken.append(file)
    if taken:
        notes.append(Note.of("image", "with another name than in its JSON file", "taken by the file's name", taken))


def _note_bare_images(root: Path, images: list[ToolImage], notes: list[Note]) -> None:
    """A note about images in the folders of JSON files that have none."""
    folders: dict[str, set[str]] = {}
    for image in images:
        folder, _, file = image.file.rpartition("/")
        known = folders.setdefault(folder, set())
        known |= {file.rpartition(".")[0], re.split(r"[\\/]", image.name)[-1].rpartition(".")[0]}
    bare = [
        entry.name
        for folder, known in folders.items()
        for entry in os.scandir(root / folder)
        if is_image(entry.name) and entry.name.rpartition(".")[0] not in known
    ]
    if bare:
        notes.append(Note.of("image", "without a JSON file", "left out", sorted(bare)))
