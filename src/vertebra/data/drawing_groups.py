"""Images that must come into one split when a data set without splits is divided on opening, by their names alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.analysis.connected import numbered
from vertebra.data.analysis.groups import guess_groups

MIN_GROUPS = 10  # that a division needs; with fewer, large groups are cut
FEWEST_GROUPS = 4  # of a data set that are divided as they are
RUNS = 20  # of consecutive images, into which a group is cut


_known: WeakKeyDictionary[Annotations, np.ndarray | None] = WeakKeyDictionary()  # they are asked for several times


def drawing_groups(annotations: Annotations) -> np.ndarray | None:
    """(n,) int64, the groups by which to divide images: those of the data set, or else those that the names of the images show
    (frames of a video, copies and crops of one image); None where each image is on its own."""
    if annotations not in _known:
        _known[annotations] = _drawing_groups(annotations)
    return _known[annotations]


def _drawing_groups(annotations: Annotations) -> np.ndarray | None:
    if annotations.groups is not None:
        return divisible_groups(annotations.groups)
    if not len(annotations):
        return None
    codes = guess_groups([os.fsdecode(name) for name in annotations.images]).codes
    return None if len(np.unique(codes)) == len(codes) else cut_large_groups(codes)


def divisible_groups(codes: np.ndarray) -> np.ndarray:
    """The groups of a data set; where they are too few for train, val and test, as one video is, large ones cut into runs.

    Args:
        codes: (n,) int64, the group of each image.
    """
    return codes if len(np.unique(codes)) >= FEWEST_GROUPS else cut_large_groups(codes)


def cut_large_groups(codes: np.ndarray) -> np.ndarray:
    """Groups of which there are enough to divide them: where there are few, each large one is cut into runs of its images.

    Args:
        codes: (n,) int64, the group of each image, in the order of the images' numbers.
    """
    numbers, sizes = np.unique(codes, return_counts=True)
    if len(numbers) >= MIN_GROUPS:
        return codes
    cut = codes * RUNS
    for code in numbers[sizes > RUNS].tolist():
        rows = np.flatnonzero(codes == code)
        cut[rows] += np.arange(len(rows)) * RUNS // len(rows)
    return numbered(cut)


def group_columns(
    parts: Sequence[Annotations | None], rule: str, of_images: Mapping[str, object] | None = None
) -> dict[str, list[object]] | None:
    """What a rule for groups names: a column of a table of images, or else an attribute of the objects, the first of each image.

    Args:
        parts: annotations of images, one after the other; None for images whose annotations are not known.
        rule: the name.
        of_images: the column by the image's path; None where there is none.

    Returns:
        The values by the name; None where neither exists.
    """
    values: list[object] = []
    for part in parts:
        if part is None:
            return None
        start = len(values)
        if of_images is not None:
            values += [of_images.get(os.fsdecode(name)) for name in part.images]
            continue
        values += [None] * len(part)
        for row, each in zip(part.objects.rows.tolist(), part.objects.attributes or (), strict=False):
            if values[start + row] is None:
                values[start + row] = each.get(rule)
    return {rule: values} if any(value is not None for value in values) else None


def division_note(annotations: Annotations, division: str, split: str, count: int, seed: int) -> Note:
    """The note about a data set without splits that was divided.

    Args:
        annotations: of all images.
        division: what was done, with ``{seed}``.
        split: that was asked for.
        count: number of its images.
    """
    together = ""
    groups = drawing_groups(annotations) if "{seed}" in division else None
    if groups is not None:
        together = ", groups of frames and copies kept together"
        if annotations.groups is not None and len(np.unique(groups)) > len(np.unique(annotations.groups)):
            together = ", large groups cut into runs of images since there are too few groups"
    names = (f"{count} for {split}",)
    return Note("image", "without a given split", division.format(seed=seed) + together, len(annotations), names)
