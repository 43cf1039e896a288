"""The truth of one image for the classify task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ClassifyAnnotation:
    """What an image shows.

    Attributes:
        label: the class id where classes are exclusive; else (K,) of 0 and 1, one for each class.
    """

    label: int | np.ndarray
