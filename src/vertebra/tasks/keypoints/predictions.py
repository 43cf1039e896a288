"""From decoded arrays to predictions of the keypoints task (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.types import KeypointPrediction

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray], transform: ImageTransform, spec: KeypointLabels, image: ImageLike | None = None
) -> KeypointPrediction:
    """The prediction of one image: points and boxes in the original image's pixels; boxes are clipped to it.

    Args:
        decoded: one image's arrays of `KeypointDecoded`, in its order: points (D, K, 2) and boxes (D, 4) in canvas pixels,
            scores and labels of the points and objects, and how many of the D are real.
        transform: the position of the image on the canvas.
        spec: the points and classes.
        image: the predicted image, for pictures.
    """
    points, point_scores, boxes, scores, labels, real = decoded
    count = int(real)
    return KeypointPrediction(
        points=transform.points_to_image(np.asarray(points)[:count]),
        point_scores=np.asarray(point_scores, dtype=np.float32)[:count],
        boxes=transform.boxes_to_image(np.asarray(boxes)[:count]).astype(np.float32),
        scores=np.asarray(scores, dtype=np.float32)[:count],
        class_ids=np.asarray(labels, dtype=np.int64)[:count],
        spec=spec,
        image=image,
    )
