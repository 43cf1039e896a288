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
    """

    mask: np.ndarray
