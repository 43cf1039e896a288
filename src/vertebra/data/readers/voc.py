"""Pascal VOC: one XML file for each image in ``Annotations``, images in ``JPEGImages``, lists in ``ImageSets/Main``.

XML files beside their images, in one folder or in one for each split, are read too. Box coordinates are used unchanged, as
edges in pixels: annotation tools write them this way, though the original VOC counts pixels from 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from vertebra.data.columns import BoxColumn
from vertebra.data.index import Column, Index, Note, path_column
from vertebra.data.readers.boxes import classes_of_boxes, clean_boxes
from vertebra.data.readers.classes import bincount, class_ids, left_out, without_images
from vertebra.data.readers.files import folders_in, is_image, lines_of, without_copies
from vertebra.data.readers.options import ReadOptions
from vertebra.data.readers.values import check_usable, flags, whole_number
from vertebra.data.splits import divide, source_split, split_of
from vertebra.errors import DataError
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.labels import DetectLabels

LARGEST = 1_000_000  # maximum side of an image in pixels


@dataclass
class _Objects:
    """The objects of some XML files."""

    files: list[Path] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    difficult: list[str] = field(default_factory=list)


@dataclass
class _Layout:
    """The files of a data set.

    Attributes:
        annotations: the XML files by split; the key is "" without splits.
        images: by the key that they share with their XML file, see `_key`.
        without: names of images without an XML file, by split.
    """

    annotations: dict[str, list[Path]]
    images: dict[str, Path]
    without: dict[str, list[str]] = field(default_factory=dict)


class VocReader:
    """Pascal VOC: XML files with boxes."""

    name = "voc"
    tasks = ("detect", "classify")
    summary = "Pascal VOC (Annotations and JPEGImages)"

    def looks_like(self, path: Path) -> bool:
        """Whether a folder contains VOC's XML files."""
        if not path.is_dir():
            return False
        folders = [path / "Annotations", path, *(folder for folder in folders_in(path) if split_of(folder.name))]
        return any(next(folder.glob("*.xml"), None) is not None for folder in folders if folder.is_dir())

    def read(self, path: Path, task: str, split: str, options: ReadOptions) -> Index:
        """One split of a VOC data set; "difficult" objects are crowd. For task classify, the classes of an image's boxes.

        Raises:
            DataError: there is no such split, no annotation, or an annotation is not valid VOC.
        """
        layout = _classic(path) if (path / "Annotations").is_dir() else _flat(path)
        source, shares = source_split([name for name in layout.annotations if name], split, path)
        split_files = (
            layout.annotations[source] if source else [file for files in layout.annotations.values() for file in files]
        )
        notes = []
        without = layout.without.get(source or "", [])
        if without:
            notes.append(Note.of("image", "without an annotation file", "left out", without))
        split_files = without_copies(split_files, f"the list of split '{split}'", notes)
        objects = _parse(_with_image(split_files, layout, notes), notes)
        if not objects.files:
            raise DataError(f"{path}: no image with a readable XML file in split '{split}'")
        classes = options.classes or _all_classes(layout, objects, split_files)
        if not classes:
            raise DataError(f"{path}: its XML files mark no object at all")
        images = path_column([layout.images[_key(file)].relative_to(path).as_posix() for file in objects.files])
        boxes, more = _boxes(objects, classes, path)
        column: Column = boxes
        names = [file.name for file in objects.files]
        labels: ClassifyLabels | DetectLabels = DetectLabels(classes)
        notes += more + without_images(labels, bincount(boxes.labels, len(classes)))
        if task == "classify":
            labels = ClassifyLabels(classes, options.multilabel)
            column = classes_of_boxes(boxes, labels, names.__getitem__, path)
        index = Index(path, images, {task: column}, {task: labels}, notes)
        return (
            index if shares is None else index.take(divide(len(index), shares, split, options.seed, index.strata(task)))
        )


def _boxes(objects: _Objects, classes: tuple[str, ...], path: Path) -> tuple[BoxColumn, list[Note]]:
    names = sorted(set(objects.names))
    to_id = dict(zip(names, class_ids(names, classes, path).tolist(), strict=True))
    labels = np.array([to_id[name] for name in objects.names], dtype=np.int64)
    counts = Counter(objects.names)
    notes = left_out({name: counts[name] for name in names if to_id[name] < 0}, "box")
    rows = np.array(objects.rows, dtype=np.int64)
    boxes = np.array(objects.boxes, dtype=np.float64).reshape(-1, 4)
    sizes = np.array(objects.sizes, dtype=np.int64).reshape(-1, 2)
    kept, boxes, more = clean_boxes(rows, boxes, sizes, lambda row: objects.files[row].name)
    total, dropped = int((labels >= 0).sum()), int((~kept & (labels >= 0)).sum())
    kept &= labels >= 0
    files = [objects.files[row].name for row in objects.rows]
    crowd = flags(objects.difficult, "difficult", files, notes)
    check_usable(total, dropped, int(crowd[kept].sum()), path, [*notes, *more])
    labeled = np.ones(len(objects.files), dtype=bool)
    return BoxColumn.of(rows[kept], boxes[kept], labels[kept], crowd[kept], labeled), notes + more


def _key(file: Path) -> str:
    """The key that an XML file and its image share: the split's folder, if any, and the stem."""
    return f"{file.parent.name}/{file.stem}" if split_of(file.parent.name) else file.stem


def _with_image(files: Sequence[Path], layout: _Layout, notes: list[Note]) -> list[Path]:
    without = [file.name for file in files if _key(file) not in layout.images]
    if without and len(without) == len(files):
        raise DataError(f"{files[0].parent}: none of its XML files has an image of the same name (first: {without[0]})")
    if without:
        notes.append(Note.of("annotation file", "without an image", "left out", without))
    return [file for file in files if _key(file) in layout.images]


def _all_classes(layout: _Layout, objects: _Objects, parsed: Sequence[Path]) -> tuple[str, ...]:
    """The names of all classes of all splits, sorted."""
    rest = sorted({file for files in layout.annotations.values() for file in files} - set(parsed))
    return tuple(sorted({*objects.names, *_parse(rest, []).names}))


def _parse(files: Sequence[Path], notes: list[Note]) -> _Objects:
    """The objects of XML files; a damaged file is left out with a note."""
    objects = _Objects()
    damaged = []
    for file in files:
        try:
            _parse_one(file, objects)
        except DataError:
            raise
        except (ElementTree.ParseError, ValueError, LookupError):  # the last two for encodings unknown to Python
            damaged.append(file.name)
    if damaged:
        notes.append(Note.of("annotation file", "that cannot be read as XML", "left out with its image", damaged))
    return objects


def _parse_one(file: Path, objects: _Objects) -> None:
    root = ElementTree.parse(file).getroot()
    row = len(objects.files)
    objects.files.append(file)
    objects.sizes.append((_number(root, "size/height"), _number(root, "size/width")))
    for marked in root.iter("object"):
        name = (marked.findtext("name") or "").strip()
        if not name:
            raise DataError(f"{file}: an object has no <name>; add it or remove the object")
        try:
            box = tuple(float(marked.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            raise DataError(f"{file}: object '{name}' has no <bndbox> with four numbers; add it or remove it") from None
        objects.rows.append(row)
        objects.names.append(name)
        objects.boxes.append(box)
        objects.difficult.append(marked.findtext("difficult") or "0")


def _number(root: ElementTree.Element, tag: str) -> int:
    number = whole_number(root.findtext(tag))
    return number if number is not None and 0 < number <= LARGEST else 0


def _classic(path: Path) -> _Layout:
    """``Annotations`` with ``JPEGImages`` or ``images``, and ``ImageSets/Main`` if it exists."""
    annotations = {file.stem: file for file in sorted((path / "Annotations").glob("*.xml"))}
    folders = [path / name for name in ("JPEGImages", "images", "Images") if (path / name).is_dir()]
    if not folders:
        raise DataError(f"{path}: there is Annotations, but no folder JPEGImages or images beside it")
    images = {file.stem: file for file in sorted(folders[0].iterdir()) if is_image(file.name)}
    listed = {name: path / "ImageSets" / "Main" / f"{name}.txt" for name in ("train", "val", "test", "trainval")}
    lists = {name: _ids(file) for name, file in listed.items() if file.is_file()}
    together = lists.pop("trainval", [])
    if together and "train" not in lists:
        lists["train"] = together
    if not lists:
        return _Layout({"": list(annotations.values())}, images, {"": sorted(set(images) - set(annotations))})
    missing = {split: [name for name in ids if name not in annotations] for split, ids in lists.items()}
    listed_files = {name: [annotations[item] for item in ids if item in annotations] for name, ids in lists.items()}
    return _Layout(listed_files, images, missing)


def _ids(file: Path) -> list[str]:
    lines = (line.split() for line in lines_of(file))
    return [words[0] for words in lines if words and words[1:] != ["-1"]]


def _flat(path: Path) -> _Layout:
    """XML files beside their images, in one folder or in one for each split."""
    split_folders = {split: folder for folder in folders_in(path) if (split := split_of(folder.name))}
    annotations = {split: sorted(folder.glob("*.xml")) for split, folder in (split_folders or {"": path}).items()}
    folders = list(split_folders.values()) or [path]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if is_image(file.name)]
    return _Layout(annotations, {_key(file): file for file in files})
