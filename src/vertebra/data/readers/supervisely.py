"""Supervisely: a project with ``meta.json`` and data sets, each with ``img`` and ``ann`` (``ann/IMAGE.jpg.json``).

Data sets named as splits are the splits, or else the images' tags that are called train, val or test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import is_image, walk
from vertebra.data.readers.supervisely_figures import SuperviselyMeta, figure_object, tags_of
from vertebra.data.readers.tool_files import edges, read_all, read_json, root_of, split_in
from vertebra.data.readers.tool_objects import (
    Problems,
    ToolImage,
    encode_masks,
    of_split,
    size_of,
    text,
    tool_annotations,
)
from vertebra.data.splits import split_of
from vertebra.errors import DataError

META = "meta.json"


class SuperviselyReader(AnnotationReader):
    """Supervisely's projects of images."""

    name = "supervisely"
    summary = "Supervisely (meta.json, and data sets with img and ann)"
    suffixes = (".json",)
    holds = frozenset({"labels", "boxes", "outlines", "points"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder is a project, or a data set of one."""
        if not path.is_dir():
            return False
        file = _meta_file(path)
        return file is not None and bool(re.search(rb'"classes"\s*:', edges(file))) and bool(_datasets(path))

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that data sets are named as, or else those that tags of images are named as."""
        named = {_split_of_folder(folder, path) for folder in _datasets(path)}
        if named == {""}:
            read = read_all(_files(path), _document, "annotation file", [])
            named = {_split_of_tags(document) for _, document in read}
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All images of the data sets that have an annotation file.

        Raises:
            DataError: the classes or all annotation files are damaged, or none has an image.
        """
        problems = Problems()
        file = _meta_file(path)
        if file is None or not _datasets(path):
            raise DataError(
                f"{root_of(path)}: needs {META}, and folders with 'img' and 'ann', to be a Supervisely project"
            )
        meta = _meta(file)
        read = read_all(_files(path), _document, "annotation file", problems.noted)
        images: list[ToolImage] = []
        paths: list[str] = []
        for annotation, document in read:
            name = annotation.relative_to(path).as_posix()
            image_path = _image_of(annotation, document, path)
            if not image_path:
                problems.add("annotation file", "without an image", "left out", annotation.name)
            paths.append(image_path)
            images.append(_image(image_path or name, name, document, meta, problems))
        if not any(image.split for image in images):
            for image, (_, document) in zip(images, read, strict=True):
                image.split = _split_of_tags(document)
        for image, (_, document) in zip(images, read, strict=True):
            if _split_of_tags(document) not in ("", image.split):
                problems.add("tag", "that names another split than the folder", "left out", image.name)
        if not any(paths):
            raise DataError(f"{path}: none of its annotation files has an image of its name in 'img'")
        _note_bare_images(path, paths, problems)
        return of_split(tool_annotations(images, paths, path, path, meta.categories, problems), split)


def _meta_file(path: Path) -> Path | None:
    """The file of the classes: in the project, or above a data set."""
    return next((folder / META for folder in (path, path.parent) if (folder / META).is_file()), None)


def _datasets(path: Path) -> list[Path]:
    """The folders with images and annotations, also those within data sets."""
    folders = []
    for folder, inner, _ in walk(path):
        if {"img", "ann"} <= set(inner):
            folders.append(Path(folder))
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in ("img", "ann"))
    return sorted(folders)


def _files(path: Path) -> list[Path]:
    return [file for folder in _datasets(path) for file in sorted((folder / "ann").glob("*.json"))]


def _split_of_folder(folder: Path, path: Path) -> str:
    return split_in(folder.relative_to(path).as_posix(), last=True)


def _split_of_tags(document: Mapping[str, Any]) -> str:
    named = {split_of(name) for name, _ in tags_of(document) if (split_of(name) or "") and name.isalpha()}
    return (named.pop() or "") if len(named) == 1 else ""


def _document(file: Path) -> Mapping[str, Any] | None:
    document = read_json(file)
    return document if isinstance(document, dict) and isinstance(document.get("objects"), list) else None


def _meta(file: Path) -> SuperviselyMeta:
    document = read_json(file)
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(classes, list) or not all(isinstance(one, dict) and text(one.get("title")) for one in classes):
        raise DataError(f"{file}: damaged, it needs a list 'classes' with a 'title' each; export the project again")
    meta = SuperviselyMeta([], {}, {})
    for one in classes:
        config = one.get("geometry_config")
        nodes = config.get("nodes") if isinstance(config, dict) else None
        lines = config.get("edges") if isinstance(config, dict) else None
        labels = {
            str(key): text(node.get("label")) or str(key) if isinstance(node, dict) else str(key)
            for key, node in (nodes.items() if isinstance(nodes, dict) else ())
        }
        if len(set(labels.values())) < len(labels):
            labels = {key: key for key in labels}
        order = list(labels)
        ends = [
            (text(line.get("src")), text(line.get("dst")))
            for line in (lines if isinstance(lines, list) else ())
            if isinstance(line, dict)
        ]
        skeleton = tuple((order.index(a), order.index(b)) for a, b in ends if a in labels and b in labels)
        title = text(one["title"])
        meta.points[title] = labels
        meta.categories.append(Category(title, points=tuple(labels.values()), skeleton=skeleton))
    tags = document.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict):
            meta.tags[text(tag.get("name"))] = text(tag.get("value_type"))
    return meta


def _image_of(annotation: Path, document: Mapping[str, Any], root: Path) -> str:
    """The image of an annotation file, relative to the root; "" if it does not exist."""
    folder = annotation.parent.parent / "img"
    stem = annotation.name[: -len(".json")]
    names = [stem, text(document.get("name")).rpartition("/")[2]]
    for name in names:
        if name and is_image(name) and _is_file(folder / name):
            return (folder / name).relative_to(root).as_posix()
    return next((file.relative_to(root).as_posix() for file in _same_stem(folder, stem)), "")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _same_stem(folder: Path, stem: str) -> list[Path]:
    files = [folder / (stem + suffix) for suffix in (".jpg", ".jpeg", ".png", ".JPG", ".PNG", ".tif", ".bmp", ".webp")]
    return [file for file in files if _is_file(file)]


def _note_bare_images(root: Path, paths: Sequence[str], problems: Problems) -> None:
    used = set(paths)
    for folder in _datasets(root):
        for file in sorted((folder / "img").iterdir()):
            if is_image(file.name) and file.relative_to(root).as_posix() not in used:
                problems.add("image", "without an annotation file", "left out", file.name)


def _image(path: str, file: str, document: Mapping[str, Any], meta: SuperviselyMeta, problems: Problems) -> ToolImage:
    sides = document.get("size")
    size = size_of(sides.get("height"), sides.get("width")) if isinstance(sides, dict) else (0, 0)
    split = split_in(file.rpartition("/ann/")[0], last=True) if "/ann/" in file else ""
    image = ToolImage(path, size=size, split=split, file=file)
    valued = [name for name, kind in meta.tags.items() if kind in ("oneof_string", "any_string")]
    for name, value in tags_of(document):
        if (split_of(name) or "") and name.isalpha():
            continue
        if value is not None and not isinstance(value, str):
            problems.add("tag", "of an image, with a number,", "left out", image.name)
        else:
            label = name if value is None else value.strip() if len(valued) == 1 else f"{name}: {value.strip()}"
            image.labels.append(label)
    for entry in document["objects"]:
        one = figure_object(entry, image, meta, problems)
        image.objects += [] if one is None else [one]
    encode_masks(image, problems)
    return image
