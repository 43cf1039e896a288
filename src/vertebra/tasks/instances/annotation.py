"""The annotation of one image for the instances task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vertebra.annotations.run_lengths import Region
from vertebra.annotations.scope import intersected


@dataclass(frozen=True, eq=False)
class InstanceAnnotation:
    """The objects in an image, each with its mask; an image without objects has M = 0.

    Attributes:
        rles: M masks as run lengths, each of the image's size and with a pixel or more; they may overlap.
        boxes: (M, 4) float32, xyxy in the image's pixels, the smallest boxes around the masks.
        labels: (M,) int64 class ids.
        crowd: (M,) bool, True for a mask that marks a crowd or a region to ignore.
        size: (height, width) of the image in pixels.
        exhaustive: (K,) bool, the classes of which all objects in the image are annotated; None for all.
    """

    rles: tuple[Region, ...]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    size: tuple[int, int]
    exhaustive: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        rles: Sequence[Region],
        labels: np.ndarray,
        crowd: np.ndarray,
        size: tuple[int, int],
        exhaustive: np.ndarray | None = None,
    ) -> InstanceAnnotation:
        """The objects whose masks have a pixel, with the boxes around them."""
        boxes = np.array([region.bounds() for region in rles], dtype=np.float32).reshape(-1, 4)
        whole = cls(tuple(rles), boxes, labels, crowd, (size[0], size[1]), exhaustive)
        return whole.take(~np.isnan(boxes[:, 0]))

    def take(self, kept: np.ndarray) -> InstanceAnnotation:
        """Only some of the objects; ``kept`` is (M,) bool."""
        rles = tuple(self.rles[row] for row in np.flatnonzero(kept))
        return replace(self, rles=rles, boxes=self.boxes[kept], labels=self.labels[kept], crowd=self.crowd[kept])

    @property
    def areas(self) -> np.ndarray:
        """(M,) float64, the pixels of each mask."""
        return np.array([region.area for region in self.rles], dtype=np.float64)


def joined(parts: Sequence[InstanceAnnotation], size: tuple[int, int]) -> InstanceAnnotation:
    """The objects of several annotations of one size; the classes that are exhaustively annotated are those of all."""
    return InstanceAnnotation(
        tuple(region for part in parts for region in part.rles),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.crowd for part in parts]),
        (size[0], size[1]),
        intersected([part.exhaustive for part in parts]),
    )
