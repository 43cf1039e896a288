"""From decoded arrays to predictions of the classify task (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray], transform: ImageTransform, spec: ClassifyLabels, image: ImageLike | None = None
) -> ClassifyPrediction:
    """The prediction of one image.

    Args:
        decoded: one image's arrays of `ClassifyDecoded`, in its order: probabilities (K,).
        transform: unused; every task takes it.
        spec: the classes.
        image: the predicted image, for pictures.
    """
    (probabilities,) = decoded
    return ClassifyPrediction(np.asarray(probabilities, dtype=np.float32), spec, image)
