"""Parses and checks COCO's ``segmentation`` entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FARTHEST = 1e30  # maximum coordinate in pixels
LARGEST = 1_000_000  # maximum side in pixels of an image with run lengths
MIN_NUMBERS = 6  # of an outline: three points
_NO_RUNS = np.zeros(0, dtype=np.int64)
_NO_TEXT = np.zeros(0, dtype=np.uint8)


class Segmentation(NamedTuple):
    """One entry.

    Attributes:
        outlines: (2P,) float64 x, y, x, y … each, finite.
        runs: (R,) int64, uncompressed run lengths.
        text: (T,) uint8, compressed run lengths.
        size: (height, width) of run lengths, 0 for outlines.
        short: number of outlines of fewer than three points, which are left out.
        odd: number of outlines with an odd number of coordinates, the last of which is left out.
    """

    outlines: tuple[np.ndarray, ...] = ()
    runs: np.ndarray = _NO_RUNS
    text: np.ndarray = _NO_TEXT
    size: tuple[int, int] = (0, 0)
    short: int = 0
    odd: int = 0


def parse_segmentation(entry: Any) -> Segmentation:
    """Parses an entry.

    An outline is a list of x, y, x, y … or of pairs; a single outline may be without a list around it; numbers may be text.

    Raises:
        ValueError: it is neither outlines nor a mapping with ``size`` and ``counts``, or has values that are not numbers.
    """
    try:
        if isinstance(entry, Mapping):
            return _runs(entry)
        parts = list(entry)
        flat = bool(parts) and not any(isinstance(part, Sequence) and not isinstance(part, str) for part in parts)
        pairs = len(parts) > 2 and all(isinstance(part, Sequence) and len(part) == 2 for part in parts)
        outlines = [_outline(part) for part in ([parts] if flat or pairs else parts)]
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    whole = tuple(outline[: len(outline) // 2 * 2] for outline in outlines if len(outline) >= MIN_NUMBERS)
    odd = sum(len(outline) % 2 for outline in outlines if len(outline) >= MIN_NUMBERS)
    return Segmentation(whole, short=len(outlines) - len(whole), odd=odd)


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
    if outline.ndim == 2 and outline.shape[1] == 2:
        outline = outline.reshape(-1)
    if outline.ndim != 1 or not (np.abs(outline) <= FARTHEST).all():
        raise ValueError("an outline that is no list of finite numbers")
    return outline
