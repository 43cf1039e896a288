"""Masks from files whose pixels are the ids of the image's segments, as in COCO panoptic."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_files import read_segment_ids
from vertebra.annotations.ranges import take_ranges
from vertebra.errors import DataError
from vertebra.tasks.segment.annotation import SegmentAnnotation, compact
from vertebra.tasks.segment.mask_column import check_mask_size, check_planes, planes_of

NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class SegmentIdColumn:
    """A file with segment ids for each image, and the class of each segment.

    Attributes:
        root: folder that the files are relative to.
        files: (n,) bytes (dtype ``S``), paths; empty for an image without one.
        offsets: (n + 1,) int64: the segments of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        ids: (B,) int64, ids of the segments, ascending in each image.
        labels: (B,) int64 class ids, the ignore index, or `NO_CLASS` for none of the classes.
        class_count: number of classes K.
        multilabel: False: masks (H, W) of class ids; True: (K, H, W) of 0 and 1.
        ignore_index: the value of ignored pixels, those of no segment.
    """

    root: Path
    files: np.ndarray
    offsets: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    class_count: int
    multilabel: bool
    ignore_index: int

    @property
    def labeled(self) -> np.ndarray:
        """(n,) bool: whether there is a file."""
        existing: np.ndarray = self.files != b""
        return existing

    def get(self, row: int, size: tuple[int, int]) -> SegmentAnnotation:
        """The semantic mask of an image.

        Raises:
            DataError: the file is unreadable, of another size than the image, or has a segment that is not listed.
        """
        path = self.root / os.fsdecode(self.files[row])
        pixels = read_segment_ids(path)
        check_mask_size(path, pixels.shape, size)
        part = slice(self.offsets[row], self.offsets[row + 1])
        ids = np.concatenate([[0], self.ids[part]])
        labels = np.concatenate([[self.ignore_index], self.labels[part]]).astype(np.int32)
        numbers = np.searchsorted(ids, pixels).clip(max=len(ids) - 1)
        unknown = ids[numbers] != pixels
        if unknown.any():
            raise DataError(
                f"{path}: {int(unknown.sum())} pixels have the id {int(pixels[unknown][0])} (R + 256 G + 65536 B), which is not in "
                "the image's 'segments_info'; add the segment, or save the file without compression losses"
            )
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
        offsets, picked = take_ranges(self.offsets, rows)
        return replace(self, files=self.files[rows], offsets=offsets, ids=self.ids[picked], labels=self.labels[picked])
