"""Masks from files whose pixels are the ids of the image's segments, as in COCO panoptic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vertebra.annotations.ranges import take_ranges
from vertebra.tasks.segment.annotation import SegmentAnnotation, compact
from vertebra.tasks.segment.mask_column import check_planes, planes_of
from vertebra.tasks.segment.segment_id_files import SegmentIdFiles

NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class SegmentIdColumn:
    """A file with segment ids for each image, and the class of each segment.

    Attributes:
        source: the files.
        labels: (B,) int64 class ids of its segments, the ignore index, or `NO_CLASS` for none of the classes.
        class_count: number of classes K.
        multilabel: False: masks (H, W) of class ids; True: (K, H, W) of 0 and 1.
        ignore_index: the value of ignored pixels, those of no segment.
    """

    source: SegmentIdFiles
    labels: np.ndarray
    class_count: int
    multilabel: bool
    ignore_index: int

    @property
    def labeled(self) -> np.ndarray:
        """(n,) bool: whether there is a file."""
        return self.source.labeled

    def get(self, row: int, size: tuple[int, int]) -> SegmentAnnotation:
        """The semantic mask of an image.

        Raises:
            DataError: as of `SegmentIdFiles.numbers`.
        """
        numbers = self.source.numbers(row, size)
        labels = np.concatenate([[self.ignore_index], self.labels[self.source.part(row)]]).astype(np.int32)
        mask = labels[numbers]
        if not self.multilabel:
            return SegmentAnnotation(compact(mask, self.ignore_index))
        check_planes(self.class_count, size)
        return SegmentAnnotation(planes_of(mask, self.class_count, self.ignore_index))

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: a mask of another size than the image cannot be read."""
        return {}

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """Always empty: a mask of another size than the image cannot be read."""
        return ""

    def take(self, rows: np.ndarray) -> SegmentIdColumn:
        """The column of some images only."""
        _, picked = take_ranges(self.source.offsets, rows)
        return replace(self, source=self.source.take(rows), labels=self.labels[picked])
