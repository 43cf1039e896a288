"""Divides images into training, validation and test: as in the data set, or at random with a seed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vertebra.annotations.table import SPLITS
from vertebra.errors import DataError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
VAL_OF_TRAIN = 0.1
_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


class NoSplit(DataError):
    """A data set has splits, but not the requested one."""


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


def divide(count: int, shares: dict[str, float], split: str, seed: int, strata: np.ndarray | None = None) -> np.ndarray:
    """The rows of one split of a random division; each row is in exactly one split.

    Args:
        count: number of rows.
        shares: the share of each split, in order; they sum to 1.
        split: the requested split.
        seed: of the division.
        strata: (count,) int64; the shares apply to each stratum, up to rounding. None for a single stratum.

    Returns:
        Row numbers, ascending.
    """
    shuffled = np.random.default_rng([seed, count]).permutation(count)
    groups = np.zeros(count, dtype=np.int64) if strata is None else strata[shuffled]
    order = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1]
    ranks = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes]) if count else np.zeros(0)
    spread = shuffled[
        order[np.argsort(ranks, kind="stable")]
    ]  # any run of consecutive rows has the strata in proportion
    return np.sort(spread[_part(count, shares, split)])


def fraction_rows(strata: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A seeded part of all rows, of each stratum at least one; ascending.

    Args:
        strata: (n,) int64.
        fraction: part to keep, above 0.
        seed: of the draw.
    """
    draw = np.random.default_rng([seed, len(strata)])
    kept = []
    for stratum in np.unique(strata):
        rows = draw.permutation(np.flatnonzero(strata == stratum))
        kept.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate([*kept, np.zeros(0, dtype=np.int64)]).astype(np.int64))


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
    needed = {"val": 3, "test": 4}.get(split, 1)
    if 0 < images < needed:
        return f"{where}: no image in split '{split}', for which one is drawn from {needed} images or more; it has {images}"
    return f"{where}: no image in split '{split}'"
