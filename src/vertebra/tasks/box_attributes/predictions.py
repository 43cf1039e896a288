"""From decoded arrays to predictions of the box_attributes task (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.predictions import from_decoded as boxes_from_decoded

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray], transform: ImageTransform, spec: AttributeLabels, image: ImageLike | None = None
) -> AttributePrediction:
    """The prediction of one image: the boxes that a prediction of the branch with the boxes has, in its order.

    Args:
        decoded: one image's arrays of `AttributeDecoded`, in its order.
        transform: the position of the image on the canvas.
        spec: the values.
        image: the predicted image, for pictures.
    """
    boxes, scores, labels, real, probabilities = decoded
    rows = np.arange(len(scores))  # in place of classes, to know which boxes are kept
    kept = boxes_from_decoded([boxes, scores, rows, real], transform, DetectLabels(("object",)))
    return AttributePrediction(
        boxes=kept.boxes,
        box_scores=kept.scores,
        box_class_ids=np.asarray(labels, dtype=np.int64)[kept.class_ids],
        probabilities=np.asarray(probabilities, dtype=np.float32)[kept.class_ids],
        spec=spec,
        image=image,
    )
