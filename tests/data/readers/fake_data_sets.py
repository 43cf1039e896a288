"""Random data sets of the shared form, and what of them a format has to give back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.drawing import patch_runs
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.writers.coco import segmentation

NAMES = (
    "a.png",
    "b c.png",
    "ä ö.png",
    "日本/写真.png",
    "back\\slash.png",
    "a.b.c.png",
    "sub/deep/x'y\".png",
    "ü.png",
    "100%.png",
)
CLASSES = ("dog", "cat", "étoile de mer", "犬", "two words", "a&b <c>", "O'Neill", "7")
POINT_NAMES = ("nose", "left ear", "右")
ATTRIBUTES = ({}, {"occluded": True}, {"color": "rød", "age": 3}, {"share": 0.1})


@dataclass(frozen=True)
class Format:
    """A format of the suite: what it holds, and how it is compared.

    Attributes:
        reader: name of its reader.
        writer: name of its writer, or of a function of `fake_writers`.
        kinds: of objects that are drawn: "box", "outline", "quadrilateral", "parts", "runs", "points"; and "labels" or "one
        label" of
            an image, and "splits".
        keeps: of an object: "id", "area", "crowd", "attributes", "hidden"; of a data set: "image id", "class id", "class order",
            "all classes".
        exact: whether coordinates are the same in all 64 bits; else within 1e-9 pixels.
        exact_boxes: the same for boxes.
        names: the names of images that are drawn.
        classes: names of classes that are drawn.
    """

    reader: str
    writer: str
    kinds: frozenset[str]
    keeps: frozenset[str] = frozenset()
    exact: bool = True
    exact_boxes: bool = True
    names: tuple[str, ...] = NAMES
    classes: tuple[str, ...] = CLASSES


def sides(limit: int) -> st.SearchStrategy[float]:
    """Coordinates inside of an image: whole, of few digits, and of all."""
    whole = st.integers(0, limit).map(float)
    short = st.integers(0, 100 * limit).map(lambda number: number / 100)
    return st.one_of(whole, short, st.floats(0, limit, allow_subnormal=False))


@st.composite
def boxes(draw: Any, size: tuple[int, int]) -> tuple[float, ...]:
    xs = sorted(draw(st.lists(sides(size[1]), min_size=2, max_size=2, unique=True)))
    ys = sorted(draw(st.lists(sides(size[0]), min_size=2, max_size=2, unique=True)))
    if xs[1] - xs[0] < 1e-3 or ys[1] - ys[0] < 1e-3 or max(*xs, *ys) < 2:  # no box, or one that may be in shares
        return (0.0, 0.0, float(size[1]), float(size[0]))
    return (xs[0], ys[0], xs[1], ys[1])


@st.composite
def outlines(draw: Any, size: tuple[int, int]) -> np.ndarray:
    """At least five corners around the image's center, so that nothing takes the first two for a box."""
    count = draw(st.integers(5, 8))
    corners = [value for _ in range(count) for value in (draw(sides(size[1])), draw(sides(size[0])))]
    return np.array([0.0, 0.0, *corners, size[1], size[0], 0.0, size[0]], dtype=np.float64)


@st.composite
def runs(draw: Any, size: tuple[int, int]) -> Segmentation:
    mask = np.random.default_rng(draw(st.integers(0, 1000))).random(size) < 0.5
    mask[0, 0] = True
    return patch_runs([(mask, 0, 0)], size)


@st.composite
def data_sets(draw: Any, form: Format) -> Annotations:
    """A data set without images on disk; its root is relative."""
    builder = AnnotationBuilder(Path("images"), Path("made"))
    names_of_classes = CLASSES[:-1] if "one label" in form.kinds else form.classes  # a folder "7" may be a part of many
    classes = draw(st.lists(st.sampled_from(names_of_classes), min_size=1, max_size=3, unique=True))
    kinds = sorted(form.kinds & {"box", "outline", "quadrilateral", "parts", "runs", "points"})
    if "points" in kinds and form.reader == "yolo":
        kinds = ["points"] if draw(st.booleans()) else [kind for kind in kinds if kind != "points"]
    point_names = POINT_NAMES if "points" in kinds else ()
    for number, name in enumerate(classes):
        numbered = draw(st.sampled_from((number, 90 - number))) if "class id" in form.keeps else None
        builder.category(Category(name, numbered, points=point_names))
    names = draw(st.lists(st.sampled_from(form.names), min_size=1, max_size=4, unique=True))
    points_need_it = kinds == ["points"]  # YOLO says what points are in the file that names the splits
    with_splits = "splits" in form.kinds and (points_need_it or draw(st.booleans()))
    codes = sorted(draw(st.integers(0, 2)) for _ in names) if with_splits else [-1] * len(names)
    drawn: set[Any] = set()
    for number, (name, code) in enumerate(zip(names, codes, strict=True)):
        size = (draw(st.integers(8, 40)), draw(st.integers(8, 40)))
        image_id = draw(st.sampled_from((number, 1000 - number))) if "image id" in form.keeps else None
        row = builder.image(name, size=size, id=image_id, split=code)
        for label in draw(_labels(form, classes)):
            builder.label(row, label)
        for index in range(draw(st.integers(0, 3)) if kinds else 0):
            _draw_object(draw, builder, form, kinds, row, size, classes, 10 * number + index, drawn)
    return builder.build()


def _labels(form: Format, classes: list[str]) -> st.SearchStrategy[list[str]]:
    least, most = (1, 1) if "one label" in form.kinds else (0, 2 if "labels" in form.kinds else 0)
    return st.lists(st.sampled_from(classes), min_size=least, max_size=most, unique=True)


def _draw_object(
    draw: Any,
    builder: AnnotationBuilder,
    form: Format,
    kinds: list[str],
    row: int,
    size: tuple[int, int],
    classes: list[str],
    number: int,
    drawn: set[Any],
) -> None:
    kind = draw(st.sampled_from(kinds))
    box = (
        draw(boxes(size))
        if kind in ("box", "points") or (form.reader not in ("yolo", "dota") and draw(st.booleans()))
        else None
    )
    shape, points = None, None
    if kind in ("outline", "parts"):
        shape = Segmentation(tuple(draw(outlines(size)) for _ in range(2 if kind == "parts" else 1)))
    elif kind == "quadrilateral":
        corners = [value for _ in range(2) for value in (draw(sides(size[1])), draw(sides(size[0])))]
        shape = Segmentation((np.array([0.0, 0.0, *corners, float(size[1]), float(size[0])]),))
    elif kind == "runs":
        shape = draw(runs(size))
    elif kind == "points":
        visible = st.sampled_from((0.0, 1.0, 2.0) if "hidden" in form.keeps else (0.0, 2.0))
        values = [(draw(sides(size[1])), draw(sides(size[0])), draw(visible)) for _ in POINT_NAMES]
        values[0] = (*values[0][:2], 2.0)
        points = np.array([(x, y, v) if v else (0.0, 0.0, 0.0) for x, y, v in values])
    name = draw(st.sampled_from(classes))
    content = (row, name, box, repr(shape))
    if content in drawn and points is None:
        return  # readers leave out copies
    drawn.add(content)
    builder.object(
        row,
        name,
        box=box,
        shape=shape,
        points=points,
        crowd="crowd" in form.keeps and draw(st.booleans()),
        area=draw(st.floats(0.5, 1e4)) if "area" in form.keeps and draw(st.booleans()) else None,
        id=number + 5 if "id" in form.keeps else None,
        attributes={**draw(st.sampled_from(ATTRIBUTES))} if "attributes" in form.keeps else None,
    )


def draw_images(annotations: Annotations, folder: Path) -> Annotations:
    """The same data set, with its images in a folder."""
    for row in range(len(annotations)):
        file = folder / os.fsdecode(annotations.images[row])
        file.parent.mkdir(parents=True, exist_ok=True)
        height, width = annotations.sizes[row].tolist()
        Image.new("RGB", (width, height), (row, 0, 0)).save(file)
    return replace(annotations, root=folder, where=folder)


def content(annotations: Annotations, form: Format, expected: Annotations) -> dict[str, Any]:
    """All that a format keeps of a data set, to be compared; ``expected`` is the one that was written.

    Boxes are left out of objects that had none, and areas of those that had none.
    """
    images: dict[str, list[Any]] = {}
    numbers_of = [np.flatnonzero(annotations.objects.rows == row).tolist() for row in range(len(annotations))]
    names = {os.fsdecode(name).rpartition("/")[2]: row for row, name in enumerate(expected.images)}
    for row in range(len(annotations)):
        name = os.fsdecode(annotations.images[row]).rpartition("/")[2]
        code = -1 if annotations.splits is None else int(annotations.splits[row])
        before = np.flatnonzero(expected.objects.rows == names[name]).tolist()
        objects = numbers_of[row]
        entry: dict[str, Any] = {
            "split": SPLITS[code] if code >= 0 else "",
            "count": len(objects),
            "labels": sorted(annotations.category_names[k] for r, k in annotations.labels.tolist() if r == row),
            "objects": [
                _object(annotations, number, form, expected, other)
                for number, other in zip(objects, before, strict=False)
            ],
        }
        if "image id" in form.keeps:
            entry["id"] = annotations.image_ids and annotations.image_ids[row]
        images[name] = [name, entry]
    classes = list(annotations.category_names)
    if "all classes" not in form.keeps:
        used = {*annotations.objects.categories.tolist(), *annotations.labels[:, 1].tolist()}
        classes = [name for number, name in enumerate(classes) if number in used]
    splits = (*SPLITS, "") if "order" in form.keeps else SPLITS if "order of splits" in form.keeps else ()
    order = {split: [name for name, (_, entry) in images.items() if entry["split"] == split] for split in splits}
    return {
        "images": images,
        "order": order,
        "classes": classes if "class order" in form.keeps else sorted(classes),
        "class ids": {c.name: c.id for c in annotations.categories} if "class id" in form.keeps else None,
    }


def _object(
    annotations: Annotations, number: int, form: Format, expected: Annotations, other: int
) -> Mapping[str, Any]:
    objects, before, same = annotations.objects, expected.objects, annotations is expected
    first, last = objects.point_offsets[number : number + 2].tolist()
    points = objects.points[first:last]
    values: dict[str, Any] = {
        "class": annotations.category_names[int(objects.categories[number])],
        "box": numbers(objects.boxes[number], form, same, form.exact_boxes) if before.has_box[other] else None,
        "shape": None,
        "points": numbers(points[points[:, 2] > 0], form, same) if len(points) and (points[:, 2] > 0).any() else None,
        "crowd": bool(objects.crowd[number]),
    }
    if objects.shapes is not None and objects.has_shape[number]:
        shape = segmentation(objects.shapes, number)
        values["shape"] = shape if isinstance(shape, dict) else [numbers(np.array(part), form, same) for part in shape]
        if isinstance(shape, dict):
            values["shape"] = objects.shapes.draw(number, tuple(shape["size"])).tolist()
    if "area" in form.keeps and np.isfinite(before.areas[other]):
        values["area"] = float(objects.areas[number])
    if "id" in form.keeps:
        values["id"] = objects.ids and objects.ids[number]
    if "attributes" in form.keeps:
        attributes = {} if objects.attributes is None else dict(objects.attributes[number])
        values["attributes"] = {key: value for key, value in attributes.items() if key != "group_id"}
    return values


def numbers(values: np.ndarray, form: Format, written: bool, exact: bool = True) -> Any:
    """Numbers as they are, or as those that were written where a format may change their last digits."""
    flat: list[float] = values.reshape(-1).tolist()
    return flat if (form.exact and exact) or not written else pytest.approx(flat, abs=1e-9)
