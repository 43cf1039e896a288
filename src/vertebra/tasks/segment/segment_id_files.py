"""Files whose pixels are the ids of the image's segments, as in COCO panoptic."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_files import read_segment_ids
from vertebra.annotations.ranges import offsets_of, take_ranges
from vertebra.annotations.table import Annotations
from vertebra.errors import DataError
from vertebra.tasks.segment.mask_column import check_mask_size


@dataclass(frozen=True, eq=False)
class SegmentIdFiles:
    """A file with segment ids for each image, and the ids that it may hold.

    Attributes:
        root: folder that the files are relative to.
        files: (n,) bytes (dtype ``S``), paths; empty for an image without one.
        offsets: (n + 1,) int64: the segments of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        ids: (B,) int64, ids of the segments, ascending in each image.
    """

    root: Path
    files: np.ndarray
    offsets: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(cls, annotations: Annotations) -> tuple[SegmentIdFiles, np.ndarray]:
        """The files of a data set whose masks are segment ids.

        Returns:
            The files, and (B,) int64, the numbers of the annotations' objects in the order of ``ids``.
        """
        objects, masks = annotations.objects, annotations.masks
        assert masks is not None
        ids = np.array(objects.ids or (), dtype=np.int64)
        order = np.lexsort((ids, objects.rows))
        return cls(masks.root, masks.files, offsets_of(objects.rows, len(annotations)), ids[order]), order

    @property
    def labeled(self) -> np.ndarray:
        """(n,) bool: whether there is a file."""
        existing: np.ndarray = self.files != b""
        return existing

    def part(self, row: int) -> slice:
        """The segments of an image."""
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def numbers(self, row: int, size: tuple[int, int]) -> np.ndarray:
        """(H, W) int64, the number of the segment of each pixel among those of the image, from 1; 0 for none.

        Raises:
            DataError: the file is unreadable, of another size than the image, or has a segment that is not listed.
        """
        path = self.root / os.fsdecode(self.files[row])
        pixels = read_segment_ids(path)
        check_mask_size(path, pixels.shape, size)
        ids = np.concatenate([[0], self.ids[self.part(row)]])
        numbers: np.ndarray = np.searchsorted(ids, pixels).clip(max=len(ids) - 1)
        unknown = ids[numbers] != pixels
        if unknown.any():
            raise DataError(
                f"{path}: {int(unknown.sum())} pixels have the id {int(pixels[unknown][0])} (R + 256 G + 65536 B), which is not in "
                "the image's 'segments_info'; add the segment, or save the file without compression losses"
            )
        return numbers

    def take(self, rows: np.ndarray) -> SegmentIdFiles:
        """The files of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        return replace(self, files=self.files[rows], offsets=offsets, ids=self.ids[picked])
