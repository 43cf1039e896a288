"""Which images are for training, validation and test: as the data set says, or by a seeded draw."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vertebra.errors import DataError

SPLITS = ("train", "val", "test")
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
    """A data set has splits, but not the one that is wanted."""


def split_of(name: str) -> str | None:
    """The split that a name speaks of: ``instances_val2017`` is "val"; None for no split or several."""
    found = {_WORDS[word] for word in re.findall(r"[a-z]+", name.lower()) if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def check_split(split: str) -> None:
    """Raise `DataError` for a split that is none of train, val and test."""
    if split not in SPLITS:
        raise DataError(f"split '{split}' does not exist; choose train, val or test")


def source_split(available: Iterable[str], split: str, where: Path) -> tuple[str | None, dict[str, float] | None]:
    """Where the images of a split come from.

    Args:
        available: the splits that the data set has.
        split: the one that is wanted.
        where: the data set, for messages.

    Returns:
        The data set's split to read (None: everything), and the shares by which it is divided (None: take it whole).
        Without splits everything is divided 80/10/10; a train split without a val split is divided 90/10.

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
    """The rows of one split of a seeded draw; all splits together are each row once.

    Args:
        count: number of rows.
        shares: the share of each split, in order; they sum to 1.
        split: the wanted one.
        seed: of the draw.
        strata: (count,) int64; each stratum is divided by the shares. None for a single one.

    Returns:
        Row numbers, ascending.
    """
    shuffled = np.random.default_rng([seed, count]).permutation(count)
    groups = np.zeros(count, dtype=np.int64) if strata is None else strata[shuffled]
    order = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1]
    ranks = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes]) if count else np.zeros(0)
    names = list(shares)
    upper = np.cumsum([shares[name] for name in names])
    place = names.index(split)
    lower = 0.0 if place == 0 else upper[place - 1]
    last = place == len(names) - 1
    chosen = (ranks >= lower - 1e-9) & ((ranks < upper[place] - 1e-9) | last)
    return np.sort(shuffled[order[chosen]])


def divide_runs(count: int, shares: dict[str, float], split: str) -> np.ndarray:
    """The rows of one split when rows that follow one another stay together: train first, then val, then test.

    For frames of a video, of which neighbours are nearly the same image.

    Returns:
        Row numbers, ascending.
    """
    names = list(shares)
    upper = np.cumsum([shares[name] for name in names])
    place = names.index(split)
    edges = [0, *(round(float(edge) * count) for edge in upper[:-1]), count]
    return np.arange(edges[place], edges[place + 1])
