"""Masks that lie in an annotation file as outlines or run lengths, drawn when they are needed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vertebra.data.columns import join_ranges, offsets_of, take_ranges
from vertebra.errors import DataError
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.data import compact


@dataclass(frozen=True, eq=False)
class Shapes:
    """The outlines and run lengths of all objects of a data set, one after the other.

    Attributes:
        points: (P,) float32, x, y, x, y … of all outlines.
        outlines: (L + 1,) int64, where each outline begins and ends in ``points``.
        outlines_of: (B + 1,) int64, which outlines are each object's.
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
            TypeError, ValueError: an entry is neither.
        """
        outlines: list[np.ndarray] = []
        outline_counts: list[int] = []
        runs: list[np.ndarray] = []
        texts: list[np.ndarray] = []
        sizes = np.zeros((len(segmentations), 2), dtype=np.int32)
        nothing = np.zeros(0, dtype=np.int64)
        for number, entry in enumerate(segmentations):
            run, text, count = nothing, nothing, 0
            if isinstance(entry, Mapping):
                sizes[number] = entry["size"]
                counts = entry["counts"]
                if isinstance(counts, str):
                    text = np.frombuffer(counts.encode("ascii"), dtype=np.uint8)
                else:
                    run = np.asarray(counts, dtype=np.int64)
            else:
                parts = [np.asarray(part, dtype=np.float32) for part in entry]
                parts = [part for part in parts if len(part) >= 6]
                outlines += parts
                count = len(parts)
            outline_counts.append(count)
            runs.append(run)
            texts.append(text)
        points, outline_offsets = join_ranges(outlines, np.float32)
        run_values, run_offsets = join_ranges(runs, np.int64)
        letters, text_offsets = join_ranges(texts, np.uint8)
        outlines_of = np.concatenate([[0], np.cumsum(outline_counts)]).astype(np.int64)
        return cls(points, outline_offsets, outlines_of, run_values, run_offsets, letters, text_offsets, sizes)

    def draw(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """The mask of one object: (H, W) bool.

        Raises:
            DataError: its run lengths are for another size, or are damaged.
        """
        text = self.text[self.text_of[number] : self.text_of[number + 1]]
        runs = self.runs[self.runs_of[number] : self.runs_of[number + 1]]
        if len(text) or len(runs):
            own = (int(self.sizes[number, 0]), int(self.sizes[number, 1]))
            if own != size:
                raise DataError(
                    f"run lengths for {own[0]}x{own[1]}, but the image is {size[0]}x{size[1]} (height x width)"
                )
            return mask_of_runs(decode_runs(text) if len(text) else runs, size)
        first, last = self.outlines_of[number], self.outlines_of[number + 1]
        bounds = self.outlines[first : last + 1]
        return fill_outlines([self.points[a:b] for a, b in itertools.pairwise(bounds)], size)


@dataclass(frozen=True, eq=False)
class RegionColumn:
    """The objects of each image as regions, drawn to one semantic mask.

    Larger objects are drawn first, so that smaller ones in front of them stay visible.

    Attributes:
        offsets: (n + 1,) int64: the objects of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        objects: (B,) int64, the objects' numbers in ``shapes``.
        labels: (B,) int64 class ids.
        labelled: (n,) bool.
        shapes: outlines and run lengths, shared by all columns taken from this one.
        class_count: number of classes K.
        exclusive: True: masks (H, W) of class ids; False: (K, H, W) of 0 and 1.
        background: the class id where there is no object, where classes are exclusive.
        ignore_index: what pixels to ignore hold.
    """

    offsets: np.ndarray
    objects: np.ndarray
    labels: np.ndarray
    labelled: np.ndarray
    shapes: Shapes
    class_count: int
    exclusive: bool
    ignore_index: int
    background: int = 0

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        labels: np.ndarray,
        labelled: np.ndarray,
        shapes: Shapes,
        class_count: int,
        *,
        exclusive: bool,
        ignore_index: int,
        background: int = 0,
    ) -> RegionColumn:
        """A column from objects in any order; ``rows`` (B,) int64 is the image of each of the shapes."""
        order = np.argsort(rows, kind="stable")
        offsets = offsets_of(rows, len(labelled))
        return cls(offsets, order, labels[order], labelled, shapes, class_count, exclusive, ignore_index, background)

    def get(self, row: int, size: tuple[int, int]) -> SegmentAnnotation:
        """The semantic mask of an image.

        Raises:
            DataError: an object's run lengths are for another size, or are damaged.
        """
        part = slice(self.offsets[row], self.offsets[row + 1])
        regions = [self.shapes.draw(int(number), size) for number in self.objects[part]]
        labels = self.labels[part]
        if not self.exclusive:
            planes = np.zeros((self.class_count, *size), dtype=np.uint8)
            for label, region in zip(labels, regions, strict=True):
                planes[label][region] = 1
            return SegmentAnnotation(planes)
        ids = np.full(size, self.background, dtype=np.int32)
        for place in np.argsort([-int(region.sum()) for region in regions], kind="stable"):
            ids[regions[place]] = labels[place]
        return SegmentAnnotation(compact(ids, self.ignore_index))

    def beyond(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Nothing: a mask has the image's size, or cannot be read."""
        return {}

    def take(self, rows: np.ndarray) -> RegionColumn:
        """The column of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        return replace(
            self,
            offsets=offsets,
            objects=self.objects[picked],
            labels=self.labels[picked],
            labelled=self.labelled[rows],
        )


def decode_runs(text: np.ndarray) -> np.ndarray:
    """Run lengths from COCO's compressed form.

    Each number is written in groups of five bits, lowest first, a sixth bit telling that more follow; from the fourth
    number on it is the difference to the number two before.

    Args:
        text: (T,) uint8, the letters.

    Returns:
        (R,) int64.

    Raises:
        DataError: letters outside the code, or a number that is cut off.
    """
    bits = text.astype(np.int64) - 48
    if (bits < 0).any() or (bits > 63).any() or (len(bits) and bits[-1] & 32):
        raise DataError("compressed run lengths are damaged")
    starts = np.flatnonzero(np.concatenate([[True], (bits[:-1] & 32) == 0]))
    lengths = np.diff(np.concatenate([starts, [len(bits)]]))
    if lengths.max(initial=0) > 12:
        raise DataError("compressed run lengths are damaged")
    place = np.arange(len(bits)) - np.repeat(starts, lengths)
    values = np.add.reduceat((bits & 31) << (5 * place), starts)
    negative = (bits[starts + lengths - 1] & 16) != 0
    values = np.where(negative, values - (np.int64(1) << (5 * lengths)), values)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def mask_of_runs(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) bool from the lengths of runs of 0, 1, 0 … down its columns.

    Raises:
        DataError: the lengths do not add up to the size.
    """
    if (runs < 0).any() or int(runs.sum()) != size[0] * size[1]:
        raise DataError(f"run lengths add up to {int(runs.sum())} pixels, not to {size[0]}x{size[1]}")
    values = np.arange(len(runs)) % 2 == 1
    mask: np.ndarray = np.repeat(values, runs).reshape(size[::-1]).T
    return mask


def fill_outlines(outlines: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The pixels within any of some outlines, as COCO counts them.

    Args:
        outlines: x, y, x, y … in pixels, each at least three points.

    Returns:
        (H, W) bool.
    """
    from faster_coco_eval.core import mask as coco_mask

    if not outlines:
        return np.zeros(size, dtype=bool)
    runs = coco_mask.frPyObjects([outline.astype(np.float64).tolist() for outline in outlines], *size)
    filled: np.ndarray = coco_mask.decode(coco_mask.merge(runs))
    return filled.astype(bool)
