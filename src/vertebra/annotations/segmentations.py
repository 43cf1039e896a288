"""Parses and checks COCO's ``segmentation`` entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

FARTHEST = 1e30  # maximum coordinate in pixels
LARGEST = 1_000_000  # maximum side in pixels of an image with run lengths
_NO_RUNS = np.zeros(0, dtype=np.int64)
_NO_TEXT = np.zeros(0, dtype=np.uint8)


class Segmentation(NamedTuple):
    """One entry.

    Attributes:
        outlines: (2P,) float64 x, y, x, y … each, finite.
        runs: (R,) int64, uncompressed run lengths.
        text: (T,) uint8, compressed run lengths.
        size: (height, width) of run lengths, 0 for outlines.
    """

    outlines: tuple[np.ndarray, ...] = ()
    runs: np.ndarray = _NO_RUNS
    text: np.ndarray = _NO_TEXT
    size: tuple[int, int] = (0, 0)


def parse_segmentation(entry: Any) -> Segmentation:
    """Parses an entry.

    Raises:
        ValueError: it is neither a list of outlines nor a mapping with ``size`` and ``counts``, or has values that are not
            numbers.
    """
    try:
        if isinstance(entry, Mapping):
            return _runs(entry)
        return Segmentation(tuple(part for part in map(_outline, entry) if len(part) >= 6))
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _runs(entry: Mapping[str, Any]) -> Segmentation:
    height, width = entry["size"]
    size = (int(height), int(width))
    if not all(0 < side <= LARGEST for side in size):
        raise ValueError(f"a size of {size[0]}x{size[1]}")
    counts = entry["counts"]
    if isinstance(counts, str):
        return Segmentation(text=np.frombuffer(counts.encode("ascii"), dtype=np.uint8), size=size)
    runs = np.asarray(counts)
    if (
        runs.ndim != 1
        or runs.dtype.kind not in "iuf"
        or (runs != np.rint(runs)).any()
        or (runs < 0).any()
        or (runs >= 2.0**62).any()
    ):
        raise ValueError("run lengths that are no whole numbers, negative, or far too large")
    return Segmentation(runs=runs.astype(np.int64), size=size)


def _outline(part: Any) -> np.ndarray:
    outline = np.asarray(part, dtype=np.float64)
    if outline.ndim != 1 or not (np.abs(outline) <= FARTHEST).all():
        raise ValueError("an outline that is no list of finite numbers")
    return outline[: len(outline) // 2 * 2]
