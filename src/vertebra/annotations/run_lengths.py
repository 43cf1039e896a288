"""Run-length encoding of masks: the lengths of runs of 0, 1, 0 … down the columns, as in COCO."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertebra.errors import DataError

LETTERS = 12  # maximum letters of one number: 60 bits

Patch = tuple[np.ndarray, int, int]
"""A mask (h, w) bool, and the left and top pixel of the image that it starts at."""


@dataclass(frozen=True, eq=False)
class Region:
    """The pixels of an object on an image.

    Attributes:
        runs: (R,) int64 lengths of runs, not negative, with the sum height * width.
        size: (height, width).
    """

    runs: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(cls, mask: np.ndarray) -> Region:
        """From a mask (H, W) bool."""
        flat = mask.ravel(order="F")
        bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
        runs = np.diff(bounds)
        height, width = mask.shape
        return cls(np.concatenate([[0], runs]) if flat.size and flat[0] else runs, (height, width))

    @classmethod
    def of_edges(cls, edges: np.ndarray, size: tuple[int, int]) -> Region:
        """From the positions (E,) where runs of its pixels begin and end, counted down the columns; two equal ones cancel each
        other."""
        positions, counts = np.unique(edges, return_counts=True)
        kept = positions[counts % 2 == 1].astype(np.int64)
        runs = np.diff(kept, prepend=0, append=size[0] * size[1])
        return cls(runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs, size)

    @classmethod
    def of_patch(cls, patch: Patch, size: tuple[int, int]) -> Region:
        """From a mask that lies wholly on an image of (height, width)."""
        mask, left, top = patch
        return cls.of_edges(patch_edges(mask, left, top, size[0]), size)

    @classmethod
    def of_spans(cls, columns: np.ndarray, tops: np.ndarray, bottoms: np.ndarray, size: tuple[int, int]) -> Region:
        """The union of parts of columns, in any order.

        Args:
            columns: (S,) int64 of an image of (height, width).
            tops, bottoms: (S,) the first row of each and the one after its last, from 0 to the height.
            size: (height, width).
        """
        starts = columns * size[0]
        events = np.concatenate([starts + tops, starts + bottoms])
        steps = np.repeat([1, -1], len(columns))
        order = np.lexsort([-steps, events])  # a span that begins where another ends continues it
        depth = np.cumsum(steps[order])
        outer = np.where(steps[order] > 0, depth == 1, depth == 0)
        return cls.of_edges(events[order][outer], size)

    @classmethod
    def of_box(cls, box: np.ndarray, size: tuple[int, int]) -> Region:
        """The pixels of an image of (height, width) whose centers lie in a box (4,) xyxy."""
        limits = np.array([size[1], size[0], size[1], size[0]])
        left, top, right, bottom = np.clip(np.ceil(np.nan_to_num(box) - 0.5), 0, limits).astype(np.int64)
        columns = np.arange(left, max(left, right))
        return cls.of_spans(columns, np.full(len(columns), top), np.full(len(columns), max(top, bottom)), size)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.runs[1::2].sum())

    @property
    def edges(self) -> np.ndarray:
        """(E,) int64, the positions where runs of its pixels begin and end, by turns."""
        ends = np.cumsum(self.runs)
        return ends[: len(ends) // 2 * 2]

    def spans(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Its parts in each column: (S,) int64 column, first row, and the row after the last."""
        starts, ends = self.edges.reshape(-1, 2).T
        filled = ends > starts
        starts, ends, height = starts[filled], ends[filled], self.size[0]
        first = starts // height
        counts = (ends - 1) // height - first + 1
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        columns = np.repeat(first, counts) + within
        tops = np.where(within == 0, np.repeat(starts, counts) - columns * height, 0)
        bottoms = np.minimum(np.repeat(ends, counts) - columns * height, height)
        return columns, tops, bottoms

    def shifted(self, left: int, top: int, size: tuple[int, int]) -> Region:
        """Its pixels moved by whole pixels, on an image of (height, width); what lies outside of it is cut off."""
        columns, tops, bottoms = self.spans()
        columns = columns + left
        tops, bottoms = np.clip(tops + top, 0, size[0]), np.clip(bottoms + top, 0, size[0])
        kept = (columns >= 0) & (columns < size[1]) & (bottoms > tops)
        return Region.of_spans(columns[kept], tops[kept], bottoms[kept], size)

    def patch(self) -> Patch:
        """The mask inside `bounds`, and its corner; a mask without pixels for an empty region."""
        columns, tops, bottoms = self.spans()
        if not len(columns):
            return np.zeros((0, 0), dtype=bool), 0, 0
        left, top = int(columns.min()), int(tops.min())
        size = (int(bottoms.max()) - top, int(columns.max()) + 1 - left)
        return self.shifted(-left, -top, size).mask(), left, top

    def to_coco(self) -> dict[str, Any]:
        """As COCO writes it: ``size`` (height, width), and ``counts``, the compressed run lengths."""
        return {"size": list(self.size), "counts": compress(self.runs)}

    def bounds(self) -> tuple[float, float, float, float]:
        """The smallest box around the pixels, xyxy as edges in pixels; nan for an empty region."""
        ends = np.cumsum(self.runs)
        starts, ends = (ends - self.runs)[1::2], ends[1::2]
        filled = ends > starts
        if not filled.any():
            return (np.nan, np.nan, np.nan, np.nan)
        starts, last, height = starts[filled], ends[filled] - 1, self.size[0]
        one_column = starts // height == last // height
        top = np.where(one_column, starts % height, 0).min()
        bottom = np.where(one_column, last % height, height - 1).max() + 1
        return (float((starts // height).min()), float(top), float((last // height).max() + 1), float(bottom))

    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        values = np.arange(len(self.runs)) % 2 == 1
        mask: np.ndarray = np.repeat(values, self.runs).reshape(self.size[::-1]).T
        return mask


def label_regions(numbers: np.ndarray, count: int) -> list[Region]:
    """The pixels of each number from 1 to ``count``, empty regions for numbers that do not occur; one pass for any number.

    Args:
        numbers: (H, W) whole numbers, each pixel with one.
    """
    size = (numbers.shape[0], numbers.shape[1])
    flat = numbers.ravel(order="F")
    starts = np.flatnonzero(np.concatenate([[flat.size > 0], flat[1:] != flat[:-1]]))
    values, ends = flat[starts], np.append(starts[1:], flat.size)
    order = np.argsort(values, kind="stable")
    edges = np.stack([starts, ends], axis=1)[order]
    bounds = np.searchsorted(values[order], np.arange(1, count + 2))
    return [Region.of_edges(edges[a:b].reshape(-1), size) for a, b in itertools.pairwise(bounds.tolist())]


def union(regions: Sequence[Region], size: tuple[int, int]) -> Region:
    """The pixels of any of some regions of an image of (height, width)."""
    spans = [region.spans() for region in regions]
    columns, tops, bottoms = (
        np.concatenate([np.zeros(0, dtype=np.int64), *(span[field] for span in spans)]) for field in range(3)
    )
    return Region.of_spans(columns, tops, bottoms, size)


def patch_edges(mask: np.ndarray, left: int, top: int, height: int) -> np.ndarray:
    """The first pixel of each run of a mask and the one after it, counted down the columns of an image of this height.

    Args:
        mask: (h, w) bool, which lies wholly on the image.
        left, top: the pixel of the image that it starts at.
    """
    padded = np.zeros((mask.shape[1], mask.shape[0] + 1), dtype=np.int8)  # the empty last row ends each column's runs
    padded[:, :-1] = mask.T
    steps = np.diff(padded.reshape(-1), prepend=np.int8(0))
    starts, ends = np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)
    column, row = np.divmod(starts, mask.shape[0] + 1)
    firsts = (column + left) * height + row + top
    edges: np.ndarray = np.stack([firsts, firsts + ends - starts], axis=1).reshape(-1)
    return edges


def compress(counts: np.ndarray) -> str:
    """Counts (R,) int64 as text; `decode_runs` is the inverse."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    groups = np.ones(len(values), dtype=np.int64)
    for size in range(1, LETTERS + 1):
        half = np.int64(1) << (5 * size - 1)
        groups[(values < -half) | (values >= half)] = size + 1
    group = np.arange(int(groups.max(initial=1)))
    letters = (values[:, None] >> (5 * group)) & 31
    letters += 32 * (group < groups[:, None] - 1) + 48
    text = letters[group < groups[:, None]].astype(np.uint8).tobytes()
    return str(text, "ascii")


def decode_runs(text: np.ndarray) -> np.ndarray:
    """Decodes COCO's compressed run lengths.

    Each number is written in groups of five bits, lowest first, with a sixth bit set if more groups follow; from the fourth
    number on, the difference to the number two before is written.

    Args:
        text: (T,) uint8, the letters.

    Returns:
        (R,) int64.

    Raises:
        DataError: invalid letters, or a truncated number.
    """
    bits = text.astype(np.int64) - 48
    if (bits < 0).any() or (bits > 63).any() or (len(bits) and bits[-1] & 32):
        raise DataError("compressed run lengths are damaged")
    starts = np.flatnonzero(np.concatenate([[True], (bits[:-1] & 32) == 0]))
    lengths = np.diff(np.concatenate([starts, [len(bits)]]))
    if lengths.max(initial=0) > LETTERS:
        raise DataError("compressed run lengths are damaged")
    digit = np.arange(len(bits)) - np.repeat(starts, lengths)
    values = np.add.reduceat((bits & 31) << (5 * digit), starts)
    negative = (bits[starts + lengths - 1] & 16) != 0
    values = np.where(negative, values - (np.int64(1) << (5 * lengths)), values)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def check_runs(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the run lengths if they form a mask of this (height, width).

    Raises:
        DataError: one is negative, or their sum is not height * width.
    """
    pixels = size[0] * size[1]
    wrong = runs[
        (runs < 0) | (runs > pixels)
    ]  # checked first, since a sum of such numbers may overflow to the correct one
    if len(wrong):
        raise DataError(
            f"a run length of {int(wrong[0])} pixels in a mask of {size[0]}x{size[1]}; write the mask again"
        )
    total = int(runs.sum())
    if total != pixels:
        raise DataError(f"run lengths add up to {total} pixels, not to {size[0]}x{size[1]}; write the mask again")
    return runs
