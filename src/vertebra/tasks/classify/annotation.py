"""The annotation of one image for the classify task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ClassifyAnnotation:
    """The class, or the classes, of an image.

    Attributes:
        label: the class id where classes are exclusive; else (K,) of 0 and 1. An image that is mixed of several has (K,)
            float32 probabilities of the classes.
        known: (K,) bool, the classes of which the label says whether they are in the image; None for all. Only where classes may
            overlap.
    """

    label: int | np.ndarray
    known: np.ndarray | None = None
