"""Masks as polygons or run lengths in an annotation file, drawn on demand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vertebra.data.columns import join_ranges, offsets_of, take_ranges
from vertebra.data.masks import check_planes
from vertebra.data.outlines import outline_runs
from vertebra.data.run_lengths import Region, check_runs, decode_runs
from vertebra.data.segmentations import Segmentation, parse_segmentation
from vertebra.errors import DataError
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.data import compact


@dataclass(frozen=True, eq=False)
class Shapes:
    """The outlines and run lengths of all objects of a data set, concatenated.

    Attributes:
        points: (P,) float32, x, y, x, y … of all outlines.
        outlines: (L + 1,) int64, the offsets of each outline in ``points``.
        outlines_of: (B + 1,) int64, the offsets of each object's outlines.
        runs: (R,) int64, uncompressed run lengths.
        runs_of: (B + 1,) int64.
        text: (T,) uint8, compressed run lengths.
        text_of: (B + 1,) int64.
        sizes: (B, 2) int32, (height, width) that run lengths are for, 0 for outlines.
    """

    points: np.ndarray
    outlines: np.ndarray
    outlines_of: np.ndarray
    runs: np.ndarray
    runs_of: np.ndarray
    text: np.ndarray
    text_of: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, segmentations: Sequence[Any]) -> Shapes:
        """From COCO's ``segmentation`` entries: a list of outlines, or a mapping with ``size`` and ``counts``.

        Raises:
            ValueError: an entry is neither, see `parse_segmentation`.
        """
        return cls.joined([parse_segmentation(entry) for entry in segmentations])

    @classmethod
    def joined(cls, parsed: Sequence[Segmentation]) -> Shapes:
        """From parsed entries."""
        points, outlines = join_ranges([part for entry in parsed for part in entry.outlines], np.float32)
        runs, runs_of = join_ranges([entry.runs for entry in parsed], np.int64)
        letters, text_of = join_ranges([entry.text for entry in parsed], np.uint8)
        counts = np.array([len(entry.outlines) for entry in parsed], dtype=np.int64)
        outlines_of = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        sizes = np.array([entry.size for entry in parsed], dtype=np.int32).reshape(-1, 2)
        return cls(points, outlines, outlines_of, runs, runs_of, letters, text_of, sizes)

    def region(self, number: int, size: tuple[int, int]) -> Region:
        """One object on an image of this (height, width).

        Raises:
            DataError: its run lengths are for another size, or are damaged.
        """
        text = self.text[self.text_of[number] : self.text_of[number + 1]]
        runs = self.runs[self.runs_of[number] : self.runs_of[number + 1]]
        if len(text) or len(runs):
            region_size = (int(self.sizes[number, 0]), int(self.sizes[number, 1]))
            if region_size != size:
                raise DataError(
                    f"run lengths for {region_size[0]}x{region_size[1]}, but the image is {size[0]}x{size[1]} (height x width)"
                )
            return Region(check_runs(decode_runs(text) if len(text) else runs, size), size)
        first, last = self.outlines_of[number], self.outlines_of[number + 1]
        bounds = self.outlines[first : last + 1]
        return Region(outline_runs([self.points[a:b] for a, b in itertools.pairwise(bounds)], size), size)

    def draw(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """The mask of one object: (H, W) bool; raises as `region` does."""
        return self.region(number, size).mask()


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
    ) -> PolygonRLEColumn:
        """A column from objects in any order; ``rows`` (B,) int64 is the image of each of the shapes."""
        order = np.argsort(rows, kind="stable")
        offsets = offsets_of(rows, len(labeled))
        return cls(offsets, order, labels[order], labeled, shapes, class_count, multilabel, ignore_index, background)

    def get(self, row: int, size: tuple[int, int]) -> SegmentAnnotation:
        """The semantic mask of an image.

        Raises:
            DataError: an object's run lengths are for another size, or are damaged.
        """
        part = slice(self.offsets[row], self.offsets[row + 1])
        regions = [self.shapes.region(int(number), size) for number in self.objects[part]]
        labels = self.labels[part]
        if self.multilabel:
            check_planes(self.class_count, size)
            planes = np.zeros((self.class_count, *size), dtype=np.uint8)
            for label, region in zip(labels, regions, strict=True):
                planes[label][region.mask()] = 1
            return SegmentAnnotation(planes)
        ids = np.full(size, self.background, dtype=np.int32)
        for row in np.argsort([-region.area for region in regions], kind="stable"):
            ids[regions[row].mask()] = labels[row]
        return SegmentAnnotation(compact(ids, self.ignore_index))

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: a mask of another size than the image cannot be read."""
        return {}

    def take(self, rows: np.ndarray) -> PolygonRLEColumn:
        """The column of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        return replace(
            self,
            offsets=offsets,
            objects=self.objects[picked],
            labels=self.labels[picked],
            labeled=self.labeled[rows],
        )
