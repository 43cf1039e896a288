"""One pass over the images of a split: each is decoded once, at reduced size, and its annotations are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_files import file_format
from vertebra.cpus import usable_cpus
from vertebra.data.analysis.image_kinds import STATISTICS, image_statistics
from vertebra.data.analysis.perceptual_hash import SIDE, perceptual_hashes, thumbnail
from vertebra.data.analysis.small_images import read_small
from vertebra.data.check.open_splits import OpenedSplit
from vertebra.data.index import Index
from vertebra.errors import DataError
from vertebra.preprocess.images import count_range
from vertebra.preprocess.number_range import RangeUse
from vertebra.shards.members import file_bytes, file_size
from vertebra.tasks import get_task
from vertebra.tasks.column import FileColumn

CHUNK = 64  # images that are handed out at a time
LOSSY = frozenset({"JPEG", "MPO"})


@dataclass
class AnnotationFacts:
    """What the annotations of one image for one task are.

    Attributes:
        error: why they cannot be used; empty if they can.
        adapted: how they were brought over from another size, "scaled" or "turned"; else empty.
        occurrences: (K,) objects of each class, or 1 for each class of the image; None without annotations.
        counted: number of items that count in the metrics.
        outside: annotations outside the image, by kind.
        pixel_counts: (K + 1,), see `vertebra.tasks.data.TaskData.pixel_counts`.
        lossy: whether they are a mask file that was compressed with loss.
    """

    error: str = ""
    adapted: str = ""
    occurrences: np.ndarray | None = None
    counted: int = 0
    outside: dict[str, int] = field(default_factory=dict)
    pixel_counts: np.ndarray | None = None
    lossy: bool = False


@dataclass
class ImageFacts:
    """What one image is.

    Attributes:
        error: why it cannot be read; empty if it can.
        ambiguous: why its numbers are of no known range; empty if they are.
        thumbnail: (32, 32) uint8 of gray values.
        statistics: a scalar of `vertebra.data.analysis.image_kinds.STATISTICS`.
        bytes_in_file: the size of its file.
        annotations: by task.
    """

    error: str = ""
    ambiguous: str = ""
    thumbnail: np.ndarray | None = None
    statistics: np.ndarray | None = None
    bytes_in_file: int = -1
    annotations: dict[str, AnnotationFacts] = field(default_factory=dict)


@dataclass
class ScannedSplit:
    """A split after the pass.

    Attributes:
        opened: the split.
        rows: (m,) int64, the images that were read.
        facts: m entries.
        numbers: the part of their range that images of more than 8 bits use.
    """

    opened: OpenedSplit
    rows: np.ndarray
    facts: list[ImageFacts]
    numbers: RangeUse = field(default_factory=RangeUse)

    @property
    def names(self) -> list[str]:
        """The m paths of the images that were read, relative to the data set."""
        return [self.opened.name_of(row) for row in self.rows.tolist()]

    @property
    def readable(self) -> np.ndarray:
        """(m,) bool."""
        return np.array([not facts.error for facts in self.facts], dtype=bool)

    def sizes(self) -> np.ndarray:
        """(n, 2) int64 height and width of all images of the split, 0 for those that were not read or are damaged."""
        sizes = np.zeros((len(self.opened), 2), dtype=np.int64)
        for row, facts in zip(self.rows.tolist(), self.facts, strict=True):
            if facts.statistics is not None:
                sizes[row] = facts.statistics["height"], facts.statistics["width"]
        return sizes

    def with_task(self, task: str) -> Iterator[tuple[str, AnnotationFacts]]:
        """The image's name and the facts of the labeled images of a task."""
        for name, facts in zip(self.names, self.facts, strict=True):
            if task in facts.annotations:
                yield name, facts.annotations[task]


@dataclass
class Scan:
    """All images of a data set that were read, one after the other.

    Attributes:
        names: N paths, relative to the data set.
        paths: the files.
        splits: (N,) the name of each image's split.
        statistics: (N,) `STATISTICS`, zeros for damaged images.
        hashes, comparable: (N,) uint64 and bool, see `vertebra.data.analysis.perceptual_hash`; False also for damaged images.
        thumbnails: (N, 32, 32) uint8.
        readable: (N,) bool.
        bytes_in_file: (N,) int64.
    """

    names: list[str]
    paths: list[Path]
    splits: np.ndarray
    statistics: np.ndarray
    hashes: np.ndarray
    comparable: np.ndarray
    thumbnails: np.ndarray
    readable: np.ndarray
    bytes_in_file: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[ScannedSplit]) -> Scan:
        """The images of all splits."""
        facts = [each for part in parts for each in part.facts]
        count = len(facts)
        thumbnails = np.zeros((count, SIDE, SIDE), dtype=np.uint8)
        statistics = np.zeros(count, dtype=STATISTICS)
        for row, each in enumerate(facts):
            if each.thumbnail is not None and each.statistics is not None:
                thumbnails[row], statistics[row] = each.thumbnail, each.statistics
        hashes, comparable = perceptual_hashes(thumbnails)
        readable = np.array([not each.error for each in facts], dtype=bool)
        return cls(
            [name for part in parts for name in part.names],
            [part.opened.images.path(row) for part in parts for row in part.rows.tolist()],
            np.array([part.opened.name for part in parts for _ in part.facts], dtype=np.str_),
            statistics,
            hashes,
            comparable & readable,
            thumbnails,
            readable,
            np.array([each.bytes_in_file for each in facts], dtype=np.int64),
        )


def scan(
    opened: OpenedSplit, rows: np.ndarray | None = None, step: Callable[[int], None] | None = None
) -> ScannedSplit:
    """Reads the images of a split, and their annotations.

    Args:
        rows: (m,) int64, some images only; None for all.
        step: gets the number of images read so far that are new.
    """
    chosen = np.arange(len(opened)) if rows is None else rows
    facts: list[ImageFacts] = []
    numbers = RangeUse()
    with ThreadPoolExecutor(max(1, usable_cpus())) as pool:
        for first in range(0, len(chosen), CHUNK):
            part = chosen[first : first + CHUNK].tolist()
            facts += pool.map(lambda row: _facts(opened, row, numbers), part)
            if step is not None:
                step(len(part))
    return ScannedSplit(opened, chosen, facts, numbers)


def content_hash(path: Path) -> bytes:
    """A hash of the bytes of a file."""
    return hashlib.blake2b(file_bytes(path), digest_size=16).digest()


def _facts(opened: OpenedSplit, row: int, numbers: RangeUse) -> ImageFacts:
    path = opened.images.path(row)
    try:
        small = read_small(path)
        bytes_in_file = file_size(path) or 0
    except (DataError, OSError) as error:
        return ImageFacts(error=str(error))
    ambiguous = _ambiguous(path, small.deep, numbers)
    annotations = {
        task: _annotation_facts(index, task, row, small.size)
        for task, index in opened.indices.items()
        if index.columns[task].labeled[row]
    }
    return ImageFacts("", ambiguous, thumbnail(small), image_statistics(small), bytes_in_file, annotations)


def _ambiguous(path: Path, deep: bool, numbers: RangeUse) -> str:
    """Counts the image, and returns why the range of its numbers is not known; empty if it is known."""
    if not deep:
        numbers.add_image()
        return ""
    try:
        count_range(path, numbers)
    except DataError as error:
        return str(error)
    return ""


def _annotation_facts(index: Index, task: str, row: int, size: tuple[int, int]) -> AnnotationFacts:
    column, labels, data = index.columns[task], index.labels[task], get_task(task).data
    try:
        annotation = column.get(row, size)
        adapted = column.adapted(row, size)
        outside = column.count_out_of_bounds(row, size)
    except DataError as error:
        return AnnotationFacts(error=str(error))
    lossy = isinstance(column, FileColumn) and file_format(column.path(row)) in LOSSY
    counts = data.pixel_counts(annotation, labels)
    occurrences = data.occurrences(annotation, labels.class_count) if counts is None else (counts[:-1] > 0).astype(int)
    return AnnotationFacts("", adapted, occurrences, data.counted(annotation, labels), outside, counts, lossy)
