"""Outlines and run lengths of objects, concatenated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.outlines import outline_runs
from vertebra.annotations.ranges import join_ranges, take_ranges
from vertebra.annotations.run_lengths import Region, check_runs, decode_runs
from vertebra.annotations.segmentations import Segmentation, parse_segmentation
from vertebra.errors import DataError

if TYPE_CHECKING:
    from vertebra.annotations.annotated_sizes import SizeChange

Axes = tuple[tuple[float, float], tuple[float, float]]
MIN_AREA = 1e-6  # twice the square pixels of an outline that encloses something
_CHUNK = 65536  # outlines whose areas are computed at a time
MAX_PIXELS = 2**28  # of run lengths that are brought to another size


@dataclass(frozen=True, eq=False)
class Shapes:
    """The outlines and run lengths of all objects of a data set, concatenated.

    Attributes:
        points: (P,) float64, or float32 where memory counts: x, y, x, y … of all outlines.
        outlines: (L + 1,) int64, the offsets of each outline in ``points``.
        outlines_of: (B + 1,) int64, the offsets of each object's outlines.
        runs: (R,) int64, uncompressed run lengths.
        runs_of: (B + 1,) int64.
        text: (T,) uint8, compressed run lengths.
        text_of: (B + 1,) int64.
        sizes: (B, 2) int32, (height, width) that run lengths are for, 0 for outlines.
        notes: what was left out or repaired in reading them.
    """

    points: np.ndarray
    outlines: np.ndarray
    outlines_of: np.ndarray
    runs: np.ndarray
    runs_of: np.ndarray
    text: np.ndarray
    text_of: np.ndarray
    sizes: np.ndarray
    notes: tuple[Note, ...] = field(default_factory=tuple)

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
        points, outlines = join_ranges([part for entry in parsed for part in entry.outlines], np.float64)
        runs, runs_of = join_ranges([entry.runs for entry in parsed], np.int64)
        letters, text_of = join_ranges([entry.text for entry in parsed], np.uint8)
        counts = np.array([len(entry.outlines) for entry in parsed], dtype=np.int64)
        outlines_of = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        sizes = np.array([entry.size for entry in parsed], dtype=np.int32).reshape(-1, 2)
        return cls(points, outlines, outlines_of, runs, runs_of, letters, text_of, sizes)

    @classmethod
    def none(cls, count: int) -> Shapes:
        """Of objects without outlines or run lengths."""
        return cls.joined([Segmentation()] * count)

    @classmethod
    def concatenated(cls, parts: Sequence[Shapes]) -> Shapes:
        """The objects of several, one after the other."""
        points, outlines = _joined([part.points for part in parts], [part.outlines for part in parts])
        _, outlines_of = _joined([part.outlines[1:] for part in parts], [part.outlines_of for part in parts])
        runs, runs_of = _joined([part.runs for part in parts], [part.runs_of for part in parts])
        text, text_of = _joined([part.text for part in parts], [part.text_of for part in parts])
        sizes = np.concatenate([part.sizes for part in parts])
        notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        return cls(points, outlines, outlines_of, runs, runs_of, text, text_of, sizes, notes)

    def __len__(self) -> int:
        """Number of objects B."""
        return len(self.sizes)

    @property
    def drawn(self) -> np.ndarray:
        """(B,) bool, whether an object has an outline or run lengths."""
        filled: np.ndarray = (np.diff(self.outlines_of) > 0) | (np.diff(self.runs_of) > 0) | (np.diff(self.text_of) > 0)
        return filled

    @property
    def enclosing(self) -> np.ndarray:
        """(B,) bool, whether an object has run lengths, or an outline whose points are not all on one line."""
        counts = np.diff(self.outlines) // 2
        areas = np.zeros(len(counts))
        outlines = np.flatnonzero(counts >= 3)
        for first in range(0, len(outlines), _CHUNK):
            part = outlines[first : first + _CHUNK]
            offsets = np.concatenate([[0], np.cumsum(counts[part])])
            index = np.repeat(self.outlines[part] - 2 * offsets[:-1], counts[part]) + 2 * np.arange(offsets[-1])
            x, y = self.points[index].astype(np.float64), self.points[index + 1].astype(np.float64)
            x -= np.repeat(x[offsets[:-1]], counts[part])  # near 0, for precision
            y -= np.repeat(y[offsets[:-1]], counts[part])
            following = np.arange(1, len(x) + 1)
            following[offsets[1:] - 1] = offsets[:-1]
            areas[part] = np.add.reduceat(x * y[following] - x[following] * y, offsets[:-1])
        enclosed = np.concatenate([[0], np.cumsum(np.abs(areas) > MIN_AREA)])
        outlined = enclosed[self.outlines_of[1:]] > enclosed[self.outlines_of[:-1]]
        sound: np.ndarray = outlined | (np.diff(self.runs_of) > 0) | (np.diff(self.text_of) > 0)
        return sound

    @property
    def any_drawn(self) -> bool:
        """Whether any object has an outline or run lengths; for shapes that are not read yet, whether any seems to."""
        return bool(self.drawn.any())

    def take(self, numbers: np.ndarray) -> Shapes:
        """Some objects only; ``numbers`` is (m,) int64."""
        if np.array_equal(numbers, np.arange(len(self))):
            return self
        outlines_of, picked = take_ranges(self.outlines_of, numbers)
        outlines, points = take_ranges(self.outlines, picked)
        runs_of, runs = take_ranges(self.runs_of, numbers)
        text_of, letters = take_ranges(self.text_of, numbers)
        return Shapes(
            self.points[points],
            outlines,
            outlines_of,
            self.runs[runs],
            runs_of,
            self.text[letters],
            text_of,
            self.sizes[numbers],
            self.notes,
        )

    def compact(self) -> Shapes:
        """With 32-bit coordinates, for the index of a training."""
        return self.with_points(self.points.astype(np.float32))

    def with_points(self, points: np.ndarray) -> Shapes:
        """With other coordinates, (P,). Deferred shapes are read for this, since `dataclasses.replace` cannot make them."""
        values = {name: getattr(self, name) for name in _FIELDS}
        return Shapes(**{**values, "points": points})

    def bounds(self) -> np.ndarray:
        """(B, 4) float64 xyxy, the smallest boxes around the objects; nan for an object without an outline or run lengths."""
        boxes = self.outline_bounds()
        for number in np.flatnonzero((np.diff(self.runs_of) > 0) | (np.diff(self.text_of) > 0)).tolist():
            boxes[number] = self.region(number, (int(self.sizes[number, 0]), int(self.sizes[number, 1]))).bounds()
        return boxes

    def outline_bounds(self, axes: Axes = ((1.0, 0.0), (0.0, 1.0))) -> np.ndarray:
        """(B, 4) float64, the smallest and the largest positions of each object's outlines along two axes; nan for those without.

        Args:
            axes: x and y of each axis, so that by default the result is xyxy.
        """
        boxes = np.full((len(self), 4), np.nan)
        corners = self.points[: len(self.points) // 2 * 2].reshape(-1, 2).astype(np.float64) @ np.array(axes).T
        starts, ends = self.outlines[self.outlines_of[:-1]] // 2, self.outlines[self.outlines_of[1:]] // 2
        outlined = np.flatnonzero(ends > starts)
        if len(outlined):
            steps = np.stack([starts[outlined], ends[outlined]], axis=1).reshape(-1)
            padded = np.concatenate([corners, corners[-1:]])  # reduceat needs an end inside of the array
            boxes[outlined, :2] = np.minimum.reduceat(padded, steps)[::2]
            boxes[outlined, 2:] = np.maximum.reduceat(padded, steps)[::2]
        return boxes

    def region(self, number: int, size: tuple[int, int], change: SizeChange | None = None) -> Region:
        """One object on an image of this (height, width).

        Args:
            change: from the size that the object was drawn for to the image's.

        Raises:
            DataError: its run lengths are for another size, or are damaged.
        """
        text = self.text[self.text_of[number] : self.text_of[number + 1]]
        runs = self.runs[self.runs_of[number] : self.runs_of[number + 1]]
        if len(text) or len(runs):
            region_size = (int(self.sizes[number, 0]), int(self.sizes[number, 1]))
            drawn = check_runs(decode_runs(text) if len(text) else runs, region_size)
            if change is not None and change.done and change.source == region_size:
                if region_size[0] * region_size[1] > MAX_PIXELS:
                    raise DataError(
                        f"run lengths for {region_size[0]}x{region_size[1]} are too large to be brought over"
                    )
                return Region.of(change.mask(Region(drawn, region_size).mask()))
            if region_size != size:
                raise DataError(
                    f"run lengths for {region_size[0]}x{region_size[1]}, but the image is {size[0]}x{size[1]} (height x width)"
                )
            return Region(drawn, size)
        first, last = self.outlines_of[number], self.outlines_of[number + 1]
        bounds = self.outlines[first : last + 1]
        outlines = [self.points[a:b] for a, b in itertools.pairwise(bounds)]
        if change is not None and change.done:
            outlines = [change.points(outline.reshape(-1, 2)).reshape(-1) for outline in outlines]
        return Region(outline_runs(outlines, size), size)

    def draw(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """The mask of one object: (H, W) bool; raises as `region` does."""
        return self.region(number, size).mask()


class DeferredShapes(Shapes):
    """Shapes that are read from their file when first used, for tasks that do not need them.

    Args:
        read: returns the shapes of some objects, by their numbers (m,) int64 in the file.
        numbers: (B,) int64, the objects.
    """

    def __init__(self, read: Callable[[np.ndarray], Shapes], numbers: np.ndarray) -> None:
        object.__setattr__(self, "_read", read)
        object.__setattr__(self, "_numbers", numbers)

    def __getattr__(self, name: str) -> Any:
        """A field of the shapes, which are read at the first use."""
        if name not in _FIELDS:
            raise AttributeError(name)
        shapes = self._read(self._numbers)
        for each in _FIELDS:
            object.__setattr__(self, each, getattr(shapes, each))
        return getattr(shapes, name)

    def __len__(self) -> int:
        """Number of objects B."""
        return len(self._numbers)

    @property
    def any_drawn(self) -> bool:
        """True: an object that has shapes seems to have one."""
        return True

    def take(self, numbers: np.ndarray) -> Shapes:
        """Some objects only; they are not read yet."""
        return super().take(numbers) if "sizes" in self.__dict__ else DeferredShapes(self._read, self._numbers[numbers])


_FIELDS = tuple(each.name for each in fields(Shapes))


def _joined(values: Sequence[np.ndarray], offsets: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Concatenated values, and their offsets."""
    lengths = np.concatenate([np.diff(part) for part in offsets])
    return np.concatenate(values), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
