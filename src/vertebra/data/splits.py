"""Divides images into training, validation and test: as in the data set, or at random with a seed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from vertebra.annotations.table import SPLITS
from vertebra.data.analysis.stratify import divide_stratified
from vertebra.errors import DataError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
VAL_OF_TRAIN = 0.1
MIN_IMAGES = {"train": 1, "val": 3, "test": 4}  # images or groups for a split to be drawn
_WORDS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "testset": "test",
}


class NoSplit(DataError):
    """A data set has splits, but not the requested one."""


class EmptySplit(DataError):
    """A split of a data set has no images, such as one that is drawn from very few."""


def split_of(name: str) -> str | None:
    """The split in a name: ``instances_val2017`` is "val"; None for no split or several."""
    splits = {_WORDS[word] for word in re.findall(r"[a-z]+", name.lower()) if word in _WORDS}
    return splits.pop() if len(splits) == 1 else None


def check_split(split: str) -> None:
    """Raise `DataError` for a split that is none of train, val and test."""
    if split not in SPLITS:
        raise DataError(f"split '{split}' does not exist; choose train, val or test")


def source_split(available: Iterable[str], split: str, where: Path) -> tuple[str | None, dict[str, float] | None]:
    """The source of a split's images.

    Args:
        available: the splits that the data set has.
        split: the requested split.
        where: the data set, for messages.

    Returns:
        The data set's split to read (None for all images), and the shares into which it is divided (None for no division). A
        data set without splits is divided 80/10/10; a train split without a val split 90/10.

    Raises:
        NoSplit: the data set has splits, but not this one.
    """
    check_split(split)
    existing = set(available)
    if not existing:
        return None, SHARES
    if split in ("train", "val") and "val" not in existing and "train" in existing:
        return "train", {"train": 1 - VAL_OF_TRAIN, "val": VAL_OF_TRAIN}
    if split not in existing:
        listed = ", ".join(name for name in SPLITS if name in existing)
        raise NoSplit(f"{where}: there is no split '{split}'; there is: {listed}")
    return split, None


def divide(
    count: int,
    shares: Mapping[str, float],
    split: str,
    seed: int,
    strata: np.ndarray | None = None,
    *,
    groups: np.ndarray | None = None,
    keys: np.ndarray | None = None,
) -> np.ndarray:
    """The rows of one split of a random division; each row is in exactly one split.

    Each split has an image of each class where there are enough. Val is left empty for less than three images, test for less than
    four.

    Args:
        count: number of rows.
        shares: the share of each split, in order; they sum to 1.
        split: the requested split.
        seed: of the division.
        strata: (count,) int64 class numbers, or (count, K) counts of objects; the shares apply to each class, up to rounding.
            None for a single class.
        groups: (count,) int64; rows of one number come into the same split.
        keys: (count,) different names, which make the division independent of the order of the rows.

    Returns:
        Row numbers, ascending.
    """
    units = count if groups is None else len(np.unique(groups))
    drawn = {name: share for name, share in shares.items() if units >= MIN_IMAGES[name]}
    if split not in drawn:
        return np.zeros(0, dtype=np.int64)
    whole = sum(drawn.values())
    parts = {name: share / whole for name, share in drawn.items()}
    codes = divide_stratified(count, parts, seed, labels=strata, groups=groups, keys=keys).codes
    _fill_empty(codes, np.arange(count) if groups is None else groups, len(parts))
    rows: np.ndarray = np.flatnonzero(codes == list(parts).index(split))
    return rows


def _fill_empty(codes: np.ndarray, groups: np.ndarray, splits: int) -> None:
    """Moves the smallest group of the first split to each split without rows, as long as the first keeps two; in place.

    A stratified division leaves splits empty where each class has a single image.
    """
    for code in range(1, splits):
        if not (codes == code).any():
            numbers, sizes = np.unique(groups[codes == 0], return_counts=True)
            if len(numbers) > 2:
                codes[groups == numbers[sizes.argmin()]] = code


def fraction_rows(strata: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A seeded part of all rows, with each class in proportion and at least one row of it; ascending.

    Args:
        strata: (n,) int64 class numbers, or (n, K) counts.
        fraction: part to keep, above 0 and below 1.
        seed: of the draw.
    """
    shares = {"kept": fraction, "left out": 1 - fraction}
    kept = divide_stratified(len(strata), shares, seed, labels=strata).codes == 0
    counts = strata if strata.ndim == 2 else strata[:, None] == np.unique(strata[strata >= 0])
    for label in np.flatnonzero((counts > 0).any(axis=0) & ~(counts[kept] > 0).any(axis=0)).tolist():
        kept[np.flatnonzero(counts[:, label])[0]] = True
    return np.flatnonzero(kept)


def divide_runs(count: int, shares: dict[str, float], split: str) -> np.ndarray:
    """The rows of one split of a division into consecutive runs: train first, then val, then test.

    For video frames, since consecutive frames are nearly the same image.

    Returns:
        Row numbers, ascending.
    """
    return np.arange(count)[_part(count, shares, split)]


def _part(count: int, shares: dict[str, float], split: str) -> slice:
    """The slice of a split's rows if the splits are consecutive."""
    sizes = split_sizes(count, shares)
    names = list(sizes)
    first = sum(sizes[name] for name in names[: names.index(split)])
    return slice(first, first + sizes[split])


def split_sizes(count: int, shares: dict[str, float]) -> dict[str, int]:
    """The number of ``count`` rows in each split: its share, and at least one for val, then for test, while at least two are left
    for training."""
    ranks = (np.arange(count) + 0.5) / max(count, 1)
    upper = np.cumsum(list(shares.values()))
    upper[-1] = 1.0
    ends = [0, *(int((ranks < edge - 1e-9).sum()) for edge in upper)]
    sizes = {name: after - before for name, before, after in zip(shares, ends, ends[1:], strict=False)}
    for name in ("val", "test"):
        if sizes.get(name) == 0 and sizes["train"] > 2:
            sizes["train"] -= 1
            sizes[name] = 1
    return sizes


def empty_split(where: Path | str, split: str, images: int) -> str:
    """The message about a split without images.

    Args:
        where: the data set.
        split: the empty split.
        images: number of images in all of its splits.
    """
    needed = MIN_IMAGES.get(split, 1)
    if 0 < images < needed:
        return f"{where}: no image in split '{split}', for which one is drawn from {needed} images or more; it has {images}"
    return f"{where}: no image in split '{split}'"
