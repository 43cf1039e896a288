"""Objects with masks from files whose pixels are the ids of the image's segments, as in COCO panoptic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vertebra.annotations.run_lengths import label_regions
from vertebra.tasks.detect.column import ObjectColumn
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.segment.segment_id_files import SegmentIdFiles

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentIdInstanceColumn(ObjectColumn):
    """The objects of all images, whose masks are read on demand: those of an image do not overlap.

    Attributes:
        source: the files.
        numbers: (B,) int64, the number of each object among the segments of its image, from 0.
    """

    per_object: ClassVar[tuple[str, ...]] = (*ObjectColumn.per_object, "numbers")

    source: SegmentIdFiles
    numbers: np.ndarray

    def get(self, row: int, size: tuple[int, int]) -> InstanceAnnotation:
        """The objects of an image; those without a pixel in it are left out.

        Raises:
            DataError: as of `SegmentIdFiles.numbers`.
        """
        part, segments = self.part(row), self.source.part(row)
        regions = label_regions(self.source.numbers(row, size), segments.stop - segments.start)
        rles = [regions[number] for number in self.numbers[part].tolist()]
        return InstanceAnnotation.of(rles, self.labels[part], self.crowd[part], size)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: a file of another size than the image cannot be read."""
        return {}

    def take(self, rows: np.ndarray) -> Self:
        """The column of some images only."""
        return replace(super().take(rows), source=self.source.take(rows))
