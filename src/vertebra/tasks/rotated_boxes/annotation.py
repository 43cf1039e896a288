"""The annotation of one image for the task of rotated boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vertebra.annotations.scope import intersected
from vertebra.geometry.rectangles import hulls


@dataclass(frozen=True, eq=False)
class RotatedBoxAnnotation:
    """The objects in an image; an image without objects has M = 0.

    Attributes:
        corners: (M, 4, 2) float32 of x, y in the image's pixels, rectangles, see `vertebra.geometry.rectangles`.
        labels: (M,) int64 class ids.
        crowd: (M,) bool, True for a box that marks a crowd or a region to ignore.
        exhaustive: (K,) bool, the classes of which all objects in the image are annotated; None for all.
    """

    corners: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    exhaustive: np.ndarray | None = None

    @property
    def boxes(self) -> np.ndarray:
        """(M, 4) float32, the upright boxes around the corners; they may extend beyond the image."""
        boxes: np.ndarray = hulls(self.corners)
        return boxes

    def take(self, chosen: np.ndarray) -> RotatedBoxAnnotation:
        """Some objects only; ``chosen`` is (M,) bool or (m,) int64."""
        return replace(self, corners=self.corners[chosen], labels=self.labels[chosen], crowd=self.crowd[chosen])


def joined(annotations: Sequence[RotatedBoxAnnotation]) -> RotatedBoxAnnotation:
    """All objects; the classes that are exhaustively annotated are those of all images."""
    return RotatedBoxAnnotation(
        np.concatenate([each.corners for each in annotations]),
        np.concatenate([each.labels for each in annotations]),
        np.concatenate([each.crowd for each in annotations]),
        intersected([each.exhaustive for each in annotations]),
    )
