"""Masks drawn on demand from outlines and run lengths."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, size_change
from vertebra.annotations.ranges import offsets_of, take_ranges
from vertebra.annotations.scope import LabelScope
from vertebra.annotations.shapes import Shapes
from vertebra.tasks.segment.annotation import SegmentAnnotation, compact
from vertebra.tasks.segment.mask_column import check_planes
from vertebra.tasks.segment.scope import limited_to


@dataclass(frozen=True, eq=False)
class PolygonRLEColumn:
    """The objects of each image as regions, drawn into one semantic mask.

    Larger objects are drawn first, so smaller ones in front of them stay visible.

    Attributes:
        offsets: (n + 1,) int64: the objects of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        objects: (B,) int64, the objects' indices in ``shapes``.
        labels: (B,) int64 class ids.
        labeled: (n,) bool.
        shapes: outlines and run lengths, shared by all sub-columns.
        class_count: number of classes K.
        multilabel: False: masks (H, W) of class ids; True: (K, H, W) of 0 and 1.
        background: the class id of pixels without an object, for exclusive classes.
        ignore_index: the value of ignored pixels.
        annotated: the sizes that outlines and run lengths were made for; None if they are not known.
        scope: the classes that are annotated in each image; None for all classes in all images.
    """

    offsets: np.ndarray
    objects: np.ndarray
    labels: np.ndarray
    labeled: np.ndarray
    shapes: Shapes
    class_count: int
    multilabel: bool
    ignore_index: int
    background: int = 0
    annotated: AnnotatedSizes | None = None
    scope: LabelScope | None = None

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        labels: np.ndarray,
        labeled: np.ndarray,
        shapes: Shapes,
        class_count: int,
        *,
        multilabel: bool,
        ignore_index: int,
        background: int = 0,
        annotated: AnnotatedSizes | None = None,
        scope: LabelScope | None = None,
    ) -> PolygonRLEColumn:
        """A column from objects in any order; ``rows`` (B,) int64 is the image of each of the shapes."""
        order = np.argsort(rows, kind="stable")
        offsets = offsets_of(rows, len(labeled))
        return cls(
            offsets,
            order,
            labels[order],
            labeled,
            shapes,
            class_count,
            multilabel,
            ignore_index,
            background,
            annotated,
            scope,
        )

    def get(self, row: int, size: tuple[int, int]) -> SegmentAnnotation:
        """The semantic mask of an image.

        Raises:
            DataError: an object's run lengths are for another size, or are damaged; or all were made for another size of the
                image, and cannot be brought over.
        """
        part = slice(self.offsets[row], self.offsets[row + 1])
        change = size_change(self.annotated, row, size)
        regions = [self.shapes.region(int(number), size, change) for number in self.objects[part]]
        labels = self.labels[part]
        if self.multilabel:
            check_planes(self.class_count, size)
            planes = np.zeros((self.class_count, *size), dtype=np.uint8)
            for label, region in zip(labels, regions, strict=True):
                planes[label][region.mask()] = 1
            return limited_to(self.scope, row, planes, self.ignore_index, self.class_count)
        ids = np.full(size, self.background, dtype=np.int32)
        for number in np.argsort([-region.area for region in regions], kind="stable"):
            ids[regions[number].mask()] = labels[number]
        mask = compact(ids, self.ignore_index)
        return limited_to(self.scope, row, mask, self.ignore_index, self.class_count)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: what is outside of the image is not drawn."""
        return {}

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """How annotations are brought to the image's size."""
        return size_change(self.annotated, row, size).done

    def take(self, rows: np.ndarray) -> PolygonRLEColumn:
        """The column of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        return replace(
            self,
            offsets=offsets,
            objects=self.objects[picked],
            labels=self.labels[picked],
            labeled=self.labeled[rows],
            annotated=None if self.annotated is None else self.annotated.take(rows),
            scope=None if self.scope is None else self.scope.take(rows),
        )
