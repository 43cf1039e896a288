"""All that the files of a data set hold, as columns: one form for all formats and tasks.

A reader fills it, each task derives its own column from it (`vertebra.tasks.data.TaskData.read`), and a writer converts it to
another format. Numbers stay as they are in the files: 64-bit coordinates in pixels, ids, areas, the order of images and objects.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.ranges import take_ranges
from vertebra.annotations.scope import LabelScope
from vertebra.annotations.shapes import Shapes

SPLITS = ("train", "val", "test")
KINDS = ("labels", "boxes", "outlines", "points", "masks")
"""Kinds of annotations: classes of whole images, boxes, outlines or run lengths of objects, their points, mask files."""


@dataclass(frozen=True)
class Category:
    """A class as the files describe it.

    Attributes:
        name: unique among the categories.
        id: the number or text that identifies it in the files; None where there is none.
        supercategory: of COCO.
        points: names of the points of its objects.
        skeleton: pairs of point numbers from 0, the lines to draw.
        color: (red, green, blue) of its pixels in color masks.
        flip_pairs: pairs of point numbers from 0 that are exchanged when the image is mirrored; None if the files do not have them.
        is_thing: whether its objects are counted one by one (True) or it is stuff such as sky (False), as panoptic files have it;
            None if the files do not.
    """

    name: str
    id: int | str | None = None
    supercategory: str = ""
    points: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    color: tuple[int, int, int] | None = None
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    is_thing: bool | None = None


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of all images, in the files' order.

    Attributes:
        rows: (B,) int64, the image of each.
        categories: (B,) int64, index of the category.
        boxes: (B, 4) float64, xyxy in image pixels; all nan for an object without a box.
        shapes: B outlines or run lengths, empty for an object without one; None if no object has one.
        points: (P, 3) float64 of x, y in image pixels and visibility (0 not labeled, 1 hidden, 2 visible), all objects'
            points concatenated.
        point_offsets: (B + 1,) int64: the points of object i are ``point_offsets[i]`` to ``point_offsets[i + 1]``.
        crowd: (B,) bool: marks a crowd, or a region that does not count.
        areas: (B,) float64 square pixels, nan where the files have none.
        ids: the objects' ids in the files; None if they have none.
        attributes: further named values of each object; None if no object has any.
    """

    rows: np.ndarray
    categories: np.ndarray
    boxes: np.ndarray
    shapes: Shapes | None
    points: np.ndarray
    point_offsets: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    ids: tuple[Any, ...] | None = None
    attributes: tuple[Mapping[str, Any], ...] | None = None

    @classmethod
    def none(cls) -> Objects:
        """No objects."""
        no_rows = np.zeros(0, dtype=np.int64)
        return cls(
            no_rows,
            no_rows,
            np.zeros((0, 4)),
            None,
            np.zeros((0, 3)),
            np.zeros(1, dtype=np.int64),
            np.zeros(0, dtype=bool),
            np.zeros(0),
        )

    def __len__(self) -> int:
        """Number of objects B."""
        return len(self.rows)

    @property
    def has_box(self) -> np.ndarray:
        """(B,) bool."""
        given: np.ndarray = ~np.isnan(self.boxes).all(axis=1)
        return given

    @property
    def has_shape(self) -> np.ndarray:
        """(B,) bool, whether it has an outline or run lengths."""
        return np.zeros(len(self), dtype=bool) if self.shapes is None else self.shapes.drawn

    @property
    def has_points(self) -> np.ndarray:
        """(B,) bool."""
        counts: np.ndarray = np.diff(self.point_offsets) > 0
        return counts

    def take(self, numbers: np.ndarray) -> Objects:
        """Some objects only, in the given order; ``numbers`` is (m,) int64, or (B,) bool."""
        chosen = np.flatnonzero(numbers) if numbers.dtype == bool else numbers
        offsets, picked = take_ranges(self.point_offsets, chosen)
        return Objects(
            self.rows[chosen],
            self.categories[chosen],
            self.boxes[chosen],
            None if self.shapes is None else self.shapes.take(chosen),
            self.points[picked],
            offsets,
            self.crowd[chosen],
            self.areas[chosen],
            None if self.ids is None else tuple(self.ids[i] for i in chosen.tolist()),
            None if self.attributes is None else tuple(self.attributes[i] for i in chosen.tolist()),
        )


@dataclass(frozen=True, eq=False)
class MaskFiles:
    """A mask file for each image.

    Attributes:
        root: folder that the files are relative to.
        files: (n,) bytes (dtype ``S``), paths; empty for an image without one.
        categories: (V,) int32, V > 256: the category of each mask value, the last entry for all above; `IGNORED` for pixels
            to leave out, `NO_CLASS` for pixels of none of the classes, `UNKNOWN` for values that nobody named.
        ignore_index: the mask value of ignored pixels.
        codes: (C,) int32 of masks that are color pictures: colors, ascending, see `vertebra.annotations.mask_files.color_codes`;
            then ``categories`` is (C + 1,), by the position of the color, the last entry for other colors. None for numbers.
        turns: (n,) uint8, the EXIF orientation by which each mask is turned to be upright as its image; None if all are.
        segments: the files are color images, in which R + 256 G + 65536 B is the id of one of the image's objects
            (``Objects.ids``), and 0 is ignored; ``categories`` is empty then.
    """

    root: Path
    files: np.ndarray
    categories: np.ndarray
    ignore_index: int
    codes: np.ndarray | None = None
    turns: np.ndarray | None = None
    segments: bool = False

    def take(self, rows: np.ndarray) -> MaskFiles:
        """The files of some images only; ``rows`` is (m,) int64."""
        return replace(self, files=self.files[rows], turns=None if self.turns is None else self.turns[rows])


UNKNOWN, NO_CLASS, IGNORED = -1, -2, -3


@dataclass(frozen=True, eq=False)
class Annotations:
    """The images of a split, or of a whole data set, with all annotations that the files hold.

    Attributes:
        root: folder that the image paths are relative to.
        images: (n,) bytes (dtype ``S``), paths of the images in the file system's encoding.
        categories: the classes, in the files' order, those of all splits.
        objects: boxes, outlines and points.
        labels: (L, 2) int64, classes of whole images: image row and category, at most one entry a pair.
        masks: mask files; None if there are none.
        annotated: (n,) bool; False for an image that nobody annotated, as opposed to an image without objects.
        sizes: (n, 2) int64 (height, width) that the annotations were made for, 0 where the files do not have it.
        image_ids: ids of the images in the files; None if they have none.
        splits: (n,) int8, the index of each image's split in `SPLITS`, -1 for none; None for a single
            split.
        files: (n,) bytes (dtype ``S``), the annotation file of each image, relative to the root, for messages; None if images have
            no annotation files of their own.
        groups: (n,) int64, images of one number belong together, as the frames of a video; None if nothing is known.
        scope: the classes that are annotated in each image, by category; None if all classes are annotated in all images.
        notes: problems that the reader handled.
        where: file or folder of the annotations, for messages.
        dropped: number of annotations in the files that the reader left out because they are wrong.
        key: a hash of all that they were read from, where the reader has it; copies by `dataclasses.replace` or `take` have none.
    """

    root: Path
    images: np.ndarray
    categories: tuple[Category, ...]
    objects: Objects
    labels: np.ndarray
    masks: MaskFiles | None
    annotated: np.ndarray
    sizes: np.ndarray
    where: Path
    image_ids: tuple[Any, ...] | None = None
    splits: np.ndarray | None = None
    files: np.ndarray | None = None
    groups: np.ndarray | None = None
    scope: LabelScope | None = None
    notes: list[Note] = field(default_factory=list)
    dropped: int = 0
    key: str = field(default="", init=False)

    def with_key(self, key: str) -> Annotations:
        """These annotations, with their key set."""
        object.__setattr__(self, "key", key)
        return self

    def __len__(self) -> int:
        """Number of images n."""
        return len(self.images)

    @property
    def category_names(self) -> tuple[str, ...]:
        """The names of all categories, in their order."""
        return tuple(category.name for category in self.categories)

    @property
    def thing_names(self) -> tuple[str, ...]:
        """The names of the categories whose objects are counted one by one, all but those that the files call stuff."""
        return tuple(category.name for category in self.categories if category.is_thing is not False)

    def path(self, row: int) -> Path:
        """An image's file."""
        return self.root / os.fsdecode(self.images[row])

    def name(self, row: int) -> str:
        """The file name of an image's annotations, or else of the image, for messages."""
        return os.fsdecode((self.images if self.files is None else self.files)[row]).rpartition("/")[2]

    def names(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """File names of some images, for messages."""
        return [self.name(int(row)) for row in rows]

    @property
    def has_segment_ids(self) -> bool:
        """Whether the pixels of each object are in mask files of segment ids."""
        return self.masks is not None and self.masks.segments

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of annotations that occur, see `KINDS`."""
        occurring = {
            "labels": len(self.labels) > 0,
            "boxes": bool(self.objects.has_box.any()),
            "outlines": self.has_segment_ids or (self.objects.shapes is not None and self.objects.shapes.any_drawn),
            "points": bool(self.objects.has_points.any()),
            "masks": self.masks is not None,
        }
        return frozenset(kind for kind in KINDS if occurring[kind])

    def take(self, rows: np.ndarray) -> Annotations:
        """Some images only, in the given order, with their annotations.

        Args:
            rows: (m,) int64, all different.
        """
        new_row = np.full(len(self), -1, dtype=np.int64)
        new_row[rows] = np.arange(len(rows))
        moved = new_row[self.objects.rows]
        kept = np.flatnonzero(moved >= 0)
        objects = self.objects.take(kept)
        labels = np.stack([new_row[self.labels[:, 0]], self.labels[:, 1]], axis=1)
        return replace(
            self,
            images=self.images[rows],
            objects=replace(objects, rows=moved[kept]),
            labels=labels[labels[:, 0] >= 0],
            masks=None if self.masks is None else self.masks.take(rows),
            annotated=self.annotated[rows],
            sizes=self.sizes[rows],
            image_ids=None if self.image_ids is None else tuple(self.image_ids[i] for i in rows.tolist()),
            splits=None if self.splits is None else self.splits[rows],
            files=None if self.files is None else self.files[rows],
            groups=None if self.groups is None else self.groups[rows],
            scope=None if self.scope is None else self.scope.take(rows),
        )
