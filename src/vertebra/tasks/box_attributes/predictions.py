"""From decoded arrays to predictions of the box_attributes task (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.types import AttributePrediction

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray], transform: ImageTransform, spec: AttributeLabels, image: ImageLike | None = None
) -> AttributePrediction:
    """The prediction of one image: all boxes in their order, in the original image's pixels, clipped to it.

    Args:
        decoded: one image's arrays of `AttributeDecoded`, in its order.
        transform: the position of the image on the canvas.
        spec: the values.
        image: the predicted image, for pictures.
    """
    boxes, scores, labels, real, probabilities = decoded
    count = int(real)
    return AttributePrediction(
        boxes=transform.boxes_to_image(np.asarray(boxes)[:count]).astype(np.float32),
        box_scores=np.asarray(scores, dtype=np.float32)[:count],
        box_class_ids=np.asarray(labels, dtype=np.int64)[:count],
        probabilities=np.asarray(probabilities, dtype=np.float32)[:count],
        spec=spec,
        image=image,
    )
