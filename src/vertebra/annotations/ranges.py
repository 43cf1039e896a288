"""Ranges of entries: those of each row, concatenated, with their offsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def offsets_of(rows: np.ndarray, count: int) -> np.ndarray:
    """The offsets of each row's entries, for entries sorted by row.

    Args:
        rows: (B,) int64 row of each entry.
        count: number of rows n.

    Returns:
        (n + 1,) int64.
    """
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int64)


def take_ranges(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of some rows.

    Args:
        offsets: (n + 1,) int64.
        rows: (m,) int64.

    Returns:
        The new offsets (m + 1,), and the indices of the entries in the old order.
    """
    lengths = offsets[rows + 1] - offsets[rows]
    new = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    picked = np.repeat(offsets[rows] - new[:-1], lengths) + np.arange(new[-1])
    return new, picked


def join_ranges(parts: Sequence[np.ndarray], dtype: type[np.generic]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of different lengths concatenated, with the offsets of each."""
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    joined = np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype=dtype)
    return joined, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def classes_of_objects(offsets: np.ndarray, labels: np.ndarray, counted: np.ndarray, class_count: int) -> np.ndarray:
    """(n, class_count) bool, the classes of the objects of each image.

    Args:
        offsets: (n + 1,) int64: the objects of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        labels: (B,) int64 class ids.
        counted: (B,) bool, which objects count.
    """
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    presence = np.zeros((len(offsets) - 1, class_count), dtype=bool)
    presence[rows[counted], labels[counted]] = True
    return presence
