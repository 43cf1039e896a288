"""Builds `Annotations` from one image and one object at a time, for formats that are read so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.paths import path_column
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations, Category, Objects

NO_BOX = (float("nan"),) * 4


class AnnotationBuilder:
    """Collects images, their classes, and their objects.

    Categories are numbered in the order in which they are first named; `category` adds one ahead, with more than a name.

    Args:
        root: folder that image paths are relative to.
        where: file or folder of the annotations, for messages.
    """

    def __init__(self, root: Path, where: Path) -> None:
        self.root, self.where = root, where
        self.notes: list[Note] = []
        self._images: list[str] = []
        self._sizes: list[tuple[int, int]] = []
        self._image_ids: list[Any] = []
        self._splits: list[int] = []
        self._files: list[str] = []
        self._annotated: list[bool] = []
        self._categories: dict[str, Category] = {}
        self._numbers: dict[str, int] = {}
        self._labels: dict[tuple[int, int], None] = {}
        self._rows: list[int] = []
        self._classes: list[int] = []
        self._boxes: list[Sequence[float]] = []
        self._shapes: list[Segmentation] = []
        self._points: list[np.ndarray] = []
        self._crowd: list[bool] = []
        self._areas: list[float] = []
        self._ids: list[Any] = []
        self._attributes: list[Mapping[str, Any]] = []

    def __len__(self) -> int:
        """Number of images so far."""
        return len(self._images)

    def category(self, category: Category) -> int:
        """Adds a category, or completes one that was named before; its number."""
        self._categories[category.name] = category
        return self._numbers.setdefault(category.name, len(self._numbers))

    def image(
        self,
        path: str,
        *,
        size: tuple[int, int] = (0, 0),
        id: Any = None,
        split: int = -1,
        file: str = "",
        annotated: bool = True,
    ) -> int:
        """Adds an image; its row.

        Args:
            path: relative to the root, with forward slashes.
            size: (height, width) that the annotations were made for; 0 if unknown.
            id: of the file, if it has one.
            file: its annotation file, relative to the root, if it has one of its own.
            split: index in `vertebra.annotations.table.SPLITS`; -1 for none.
            annotated: False for an image that nobody annotated.
        """
        self._images.append(path)
        self._sizes.append(size)
        self._image_ids.append(id)
        self._splits.append(split)
        self._files.append(file)
        self._annotated.append(annotated)
        return len(self._images) - 1

    def name_of(self, row: int) -> str:
        """The path of an image that was added."""
        return self._images[row]

    def label(self, row: int, name: str) -> None:
        """Adds a class of a whole image; twice the same counts once."""
        self._labels[row, self._number(name)] = None

    def object(
        self,
        row: int,
        name: str,
        *,
        box: Sequence[float] | None = None,
        shape: Segmentation | None = None,
        points: np.ndarray | None = None,
        crowd: bool = False,
        area: float | None = None,
        id: Any = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> int:
        """Adds an object; its number.

        Args:
            row: of its image.
            name: of its category.
            box: xyxy in image pixels.
            shape: outlines or run lengths.
            points: (K, 3) x, y in image pixels and visibility.
            crowd: whether it marks a crowd, or a region that does not count.
            area: in square pixels.
            id: of the file, if it has one.
            attributes: further named values.
        """
        self._rows.append(row)
        self._classes.append(self._number(name))
        self._boxes.append(NO_BOX if box is None else box)
        self._shapes.append(shape or Segmentation())
        self._points.append(np.zeros((0, 3)) if points is None else points)
        self._crowd.append(crowd)
        self._areas.append(float("nan") if area is None else area)
        self._ids.append(id)
        self._attributes.append(attributes or {})
        return len(self._rows) - 1

    def build(self) -> Annotations:
        """All that was added."""
        count = len(self._images)
        has_splits = any(split >= 0 for split in self._splits)
        return Annotations(
            root=self.root,
            images=path_column(self._images),
            categories=tuple(self._categories.get(name, Category(name)) for name in self._numbers),
            objects=self._objects(),
            labels=np.array(list(self._labels), dtype=np.int64).reshape(-1, 2),
            masks=None,
            annotated=np.array(self._annotated, dtype=bool).reshape(count),
            sizes=np.array(self._sizes, dtype=np.int64).reshape(count, 2),
            where=self.where,
            image_ids=tuple(self._image_ids) if any(key is not None for key in self._image_ids) else None,
            splits=np.array(self._splits, dtype=np.int8) if has_splits else None,
            files=path_column(self._files) if any(self._files) else None,
            notes=self.notes,
        )

    def _number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def _objects(self) -> Objects:
        if not self._rows:
            return Objects.none()
        lengths = [len(points) for points in self._points]
        drawn = any(shape.outlines or len(shape.runs) or len(shape.text) for shape in self._shapes)
        return Objects(
            rows=np.array(self._rows, dtype=np.int64),
            categories=np.array(self._classes, dtype=np.int64),
            boxes=np.array(self._boxes, dtype=np.float64).reshape(-1, 4),
            shapes=Shapes.joined(self._shapes) if drawn else None,
            points=np.concatenate(self._points).reshape(-1, 3).astype(np.float64),
            point_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            crowd=np.array(self._crowd, dtype=bool),
            areas=np.array(self._areas, dtype=np.float64),
            ids=tuple(self._ids) if any(key is not None for key in self._ids) else None,
            attributes=tuple(self._attributes) if any(self._attributes) else None,
        )
