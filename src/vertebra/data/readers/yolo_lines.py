"""Reads the lines of YOLO's label files, and determines what they hold.

A line is ``class cx cy w h``, a box; ``class x1 y1 x2 y2 x3 y3 …``, an outline (four corners for oriented boxes); or
``class cx cy w h`` with K points. All coordinates are shares of the image's width and height. A prediction has its confidence
at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.ranges import take_ranges
from vertebra.errors import DataError

THREADS = 8
BATCH = 256  # files read by one call of a thread
LARGEST = 1 << 26  # bytes of a label file
TOLERANCE = 0.01  # coordinates beyond 0..1 that Ultralytics takes
IN_PIXELS = 0.5  # share of lines beyond 0..1 from which coordinates are in another unit
BOX, OUTLINE, POINTS = 0, 1, 2
SAMPLE = 1000  # lines that are checked first
FEWEST = 3  # lines that are enough to distinguish points from outlines by their numbers


@dataclass(frozen=True)
class Lines:
    """The lines of all files that hold numbers.

    Attributes:
        rows: (L,) int64, the image of each line.
        values: (V,) float64, all numbers.
        offsets: (L + 1,) int64, the numbers of line i are ``offsets[i]`` to ``offsets[i + 1]``.
    """

    rows: np.ndarray
    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        """Number of lines."""
        return len(self.rows)

    @property
    def counts(self) -> np.ndarray:
        """(L,) int64, how many numbers each line has."""
        counts: np.ndarray = np.diff(self.offsets)
        return counts

    def take(self, numbers: np.ndarray) -> Lines:
        """Some lines only; ``numbers`` is (m,) int64, or (L,) bool."""
        chosen = np.flatnonzero(numbers) if numbers.dtype == bool else numbers
        offsets, picked = take_ranges(self.offsets, chosen)
        return Lines(self.rows[chosen], self.values[picked], offsets)

    def columns(self, first: int, last: int) -> np.ndarray:
        """(L, last - first) the numbers ``first`` to ``last`` of each line, which must all have them."""
        chosen: np.ndarray = self.values[self.offsets[:-1, None] + np.arange(first, last)]
        return chosen


@dataclass(frozen=True)
class Meaning:
    """What the lines of a data set hold.

    Attributes:
        kinds: (L,) int64 of `BOX`, `OUTLINE` and `POINTS`; -1 for a line that is none of these.
        scored: (L,) bool, whether its last number is a confidence.
        point_shape: number of points and of values of each, (0, 0) without points.
        guessed: whether the points are known by the numbers alone.
    """

    kinds: np.ndarray
    scored: np.ndarray
    point_shape: tuple[int, int] = (0, 0)
    guessed: bool = False


def read_lines(files: Sequence[str | None], notes: list[Note]) -> Lines:
    """The lines of the label files of some images; each line once, as Ultralytics reads them.

    Lines that are not numbers, and files that are no text, are left out with a note.

    Args:
        files: of each image; None without one.
        notes: gets new notes.
    """
    existing = [(row, file) for row, file in enumerate(files) if file is not None]
    with ThreadPoolExecutor(THREADS) as pool:
        batches = [[file for _, file in existing[first : first + BATCH]] for first in range(0, len(existing), BATCH)]
        contents = chain.from_iterable(pool.map(_contents, batches))
        problems: dict[str, list[str]] = {"unreadable": [], "words": [], "copies": []}
        rows: list[int] = []
        counts: list[int] = []
        values: list[np.ndarray] = []
        for (row, file), content in zip(existing, contents, strict=True):
            lines = _split(content, file, problems)
            numbers, kept = _numbers(lines, file, problems)
            rows += [row] * len(kept)
            counts += kept
            values.append(numbers)
    _note(problems, notes)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Lines(np.array(rows, dtype=np.int64), np.concatenate([*values, np.zeros(0)]), offsets)


def _contents(files: Sequence[str]) -> list[bytes | None]:
    return [_content(Path(file)) for file in files]


def _content(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except OSError:
        return None
    return content if len(content) <= LARGEST else None


def _split(content: bytes | None, name: str, problems: dict[str, list[str]]) -> list[tuple[str, ...]]:
    """The words of each line that has any."""
    try:
        text = (content or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        content, text = None, ""
    if content is None:
        problems["unreadable"].append(name)
    lines = [tuple(words) for line in text.splitlines() if (words := line.split())]
    different = dict.fromkeys(lines)
    problems["copies"] += [name] * (len(lines) - len(different))
    return list(different)


def _numbers(
    lines: Sequence[tuple[str, ...]], name: str, problems: dict[str, list[str]]
) -> tuple[np.ndarray, list[int]]:
    """The numbers of all lines, and how many each line has; lines with other words are left out."""
    try:
        return np.array(list(map(float, chain.from_iterable(lines))), dtype=np.float64), list(map(len, lines))
    except ValueError:
        pass
    values: list[float] = []
    counts: list[int] = []
    for line in lines:
        try:
            values += map(float, line)
            counts.append(len(line))
        except ValueError:
            del values[sum(counts) :]
            problems["words"].append(name)
    return np.array(values, dtype=np.float64), counts


def _note(problems: dict[str, list[str]], notes: list[Note]) -> None:
    whole = ("label file", "not readable as text in UTF-8", "read as empty")
    words = ("line", "with words that are no numbers", "dropped")
    copies = ("line", "repeating another of its image", "left out")
    for key, (noun, which, done) in {"unreadable": whole, "words": words, "copies": copies}.items():
        if problems[key]:
            names = [file.rpartition("/")[2] for file in problems[key]]
            notes.append(Note.of(noun, which, done, names))


def meaning_of(lines: Lines, point_shape: tuple[int, int] | None) -> Meaning:
    """What each line holds, by the numbers in the lines of the whole data set.

    Args:
        lines: of the data set.
        point_shape: number of points and of values of each, if the data set names them.
    """
    counts = lines.counts
    kinds = np.full(len(lines), -1, dtype=np.int64)
    scored = np.zeros(len(lines), dtype=bool)
    shape = point_shape or _guessed_points(lines)
    if shape is not None:
        with_points = 5 + shape[0] * shape[1]
        kinds[(counts == with_points) | (counts == with_points + 1)] = POINTS
        scored[counts == with_points + 1] = True
    kinds[(counts == 5) | (counts == 6)] = BOX
    scored[counts == 6] = True
    if point_shape is None:
        # an even number of values is an outline with a confidence, if all lines have one, or is cut off
        predicted = bool((scored | (counts % 2 == 0)).all())
        outlined = (kinds < 0) & (counts >= 7) & ((counts % 2 == 1) | predicted)
        kinds[outlined] = OUTLINE
        scored[outlined] = predicted
    return Meaning(kinds, scored, shape or (0, 0), shape is not None and point_shape is None)


def _guessed_points(lines: Lines) -> tuple[int, int] | None:
    """The points of lines of one length whose first numbers are a box around the others; None for other lines.

    Of an outline the first four numbers are two of its corners, which are hardly ever a box around all the others.
    """
    different = np.unique(lines.counts)
    if len(lines) < FEWEST or len(different) != 1 or different[0] < 7:
        return None
    if len(lines) > SAMPLE and _guessed_points(lines.take(np.arange(SAMPLE))) is None:
        return None
    count = int(different[0]) - 5
    center, sides = lines.columns(1, 3)[:, None], lines.columns(3, 5)[:, None]
    for values in (3, 2):
        if count % values:
            continue
        points = lines.columns(5, 5 + count).reshape(len(lines), -1, values)
        flags = points[..., 2] if values == 3 else np.where((points > 0).all(axis=2), 2.0, 0.0)
        inside = (np.abs(points[..., :2] - center) <= sides / 2 + TOLERANCE).all(axis=2) | (flags == 0)
        if np.isin(flags, (0, 1, 2)).all() and inside.all() and (flags > 0).any():
            return (count // values, values)
    return None


def usable_lines(lines: Lines, meaning: Meaning, name_of: Sequence[str], notes: list[Note]) -> np.ndarray:
    """The lines that can be used, as (L,) bool, with notes about the others.

    Args:
        lines: of the data set.
        meaning: of the lines.
        name_of: the label file of each image.
        notes: gets new notes.

    Raises:
        DataError: most coordinates are beyond 0..1.
    """
    usable = np.ones(len(lines), dtype=bool)

    def drop(wrong: np.ndarray, which: str) -> None:
        dropped = np.flatnonzero(wrong & usable)
        if len(dropped):
            notes.append(Note.of("line", which, "dropped", [name_of[row] for row in lines.rows[dropped]]))
            usable[dropped] = False

    if not len(lines):
        return usable
    finite = np.logical_and.reduceat(np.isfinite(lines.values), lines.offsets[:-1])
    classes = lines.values[lines.offsets[:-1]]
    drop(~finite, "with a value that is not finite")
    drop(meaning.kinds < 0, "with another number of values than the format has")
    with np.errstate(invalid="ignore"):
        drop((classes != np.rint(classes)) | (classes < 0), "whose class is no whole number from 0")
    low, high, negative = _extremes(lines, meaning)
    drop(negative, "with a box of negative width or height")
    outside = (low < -TOLERANCE) | (high > 1 + TOLERANCE)
    total = int(usable.sum())
    if total and (outside & usable).sum() > IN_PIXELS * total and np.median(high[usable]) > 2:
        first = int(np.flatnonzero(outside & usable)[0])
        raise DataError(
            f"{name_of[int(lines.rows[first])]}: {int((outside & usable).sum())} of {total} lines have coordinates up to "
            f"{high[usable].max():g}, but YOLO's are shares of the image's width and height, from 0 to 1; divide them by these"
        )
    drop(outside, "with coordinates beyond 0..1")
    return usable


def _extremes(lines: Lines, meaning: Meaning) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lowest and the highest coordinate of each line, and whether its box has a negative side."""
    low, high = np.zeros(len(lines)), np.zeros(len(lines))
    negative = np.zeros(len(lines), dtype=bool)
    boxed = np.flatnonzero((meaning.kinds == BOX) | (meaning.kinds == POINTS))
    boxes = lines.take(boxed).columns(1, 5)
    low[boxed], high[boxed] = boxes[:, :2].min(axis=1, initial=0), boxes.max(axis=1, initial=0)
    negative[boxed] = (boxes[:, 2:] < 0).any(axis=1)
    pointed = np.flatnonzero(meaning.kinds == POINTS)
    if len(pointed):
        count, each = meaning.point_shape
        points = lines.take(pointed).columns(5, 5 + count * each).reshape(len(pointed), count, each)
        labeled = points[..., 2:] > 0 if each == 3 else points.min(axis=2, keepdims=True) >= 0
        shares = np.where(labeled, points[..., :2], 0).reshape(len(pointed), -1)
        low[pointed] = np.minimum(low[pointed], shares.min(axis=1))
        high[pointed] = np.maximum(high[pointed], shares.max(axis=1))
    outlined = np.flatnonzero(meaning.kinds == OUTLINE)
    if len(outlined):
        offsets, values = outlines_of(lines, meaning, outlined)
        low[outlined] = np.minimum.reduceat(values, offsets[:-1])
        high[outlined] = np.maximum.reduceat(values, offsets[:-1])
    return low, high, negative


def outlines_of(lines: Lines, meaning: Meaning, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outlines of some lines: their offsets (m + 1,), and all coordinates x, y, x, y …, shares of the image."""
    starts = lines.offsets[numbers] + 1
    lengths = lines.offsets[numbers + 1] - starts - meaning.scored[numbers]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    picked = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return offsets, lines.values[picked]
