"""The annotation of one image for the segment task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class SegmentAnnotation:
    """The class of each pixel of an image.

    Attributes:
        mask: where classes are exclusive (H, W) of class ids, else (K, H, W) of 0 and 1; an integer type, of the
            original image's size. Pixels to ignore hold the labels' ignore index.
        exhaustive: (K,) bool, the classes of which all pixels are annotated, see `vertebra.tasks.segment.scope`; None for all.
    """

    mask: np.ndarray
    exhaustive: np.ndarray | None = None


def compact(ids: np.ndarray, ignore_index: int) -> np.ndarray:
    """Class ids as uint8 if they fit, else as int32."""
    fits = 0 <= ignore_index <= 255 and (ids.size == 0 or int(ids.max()) <= 255)
    return ids.astype(np.uint8 if fits else np.int32)
