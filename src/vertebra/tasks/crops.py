"""The crops of an image, for merging the predictions on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.tasks.thresholds import ScoreThreshold

if TYPE_CHECKING:
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of one image, one for each box of a first model.

    Attributes:
        boxes: (M, 4) float32 xyxy, the first model's boxes in the image's pixels.
        scores: (M,) the first model's scores.
        corners: (M, 2) x, y of each crop's top left corner in the image's pixels.
        size: (height, width) of the image in pixels.
        image: the image, for `draw`.
        threshold: objects below this score, or that of their class, are left out; None where the predictions have the thresholds
            that their model stores.
        one_object: whether each crop has one object, which fills it.
    """

    boxes: np.ndarray
    scores: np.ndarray
    corners: np.ndarray
    size: tuple[int, int]
    image: ImageLike | None
    threshold: ScoreThreshold | None
    one_object: bool


def crop_of_object(predictions: Sequence[Any]) -> np.ndarray:
    """For each object of all predictions, the index of its crop."""
    return np.repeat(np.arange(len(predictions)), [len(prediction) for prediction in predictions])


def concatenated(arrays: Sequence[np.ndarray], rest: tuple[int, ...] = ()) -> np.ndarray:
    """Arrays (m, *rest) concatenated; the list may be empty."""
    return np.concatenate([np.zeros((0, *rest)), *arrays])
