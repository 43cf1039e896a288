"""From decoded arrays to predictions of rotated boxes (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.geometry.rectangles import enclosing_rectangles, hulls
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray], transform: ImageTransform, spec: RotatedBoxLabels, image: ImageLike | None = None
) -> RotatedBoxPrediction:
    """The prediction of one image: boxes in the original image's pixels. A box that lies wholly outside the image is dropped.

    Args:
        decoded: one image's arrays of `vertebra.tasks.rotated_boxes.targets.RotatedBoxDecoded`, in its order: corners (D, 4, 2) and
            upright boxes (D, 4) in canvas pixels, scores (D,), labels (D,), and how many of the D are real.
        transform: the position of the image on the canvas.
        spec: the classes.
        image: the predicted image, for pictures.
    """
    canvas_corners, _, scores, labels, real = decoded
    count = int(real)
    corners = transform.points_to_image(np.asarray(canvas_corners)[:count]).astype(np.float64)
    if count and transform.scale_x != transform.scale_y:  # stretched, so they are parallelograms
        corners = enclosing_rectangles(corners)
    height, width = transform.original
    return clipped_prediction(
        corners.astype(np.float32),
        np.asarray(scores, dtype=np.float32)[:count],
        np.asarray(labels, dtype=np.int64)[:count],
        (height, width),
        spec,
        image,
    )


def clipped_prediction(
    corners: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    spec: RotatedBoxLabels,
    image: ImageLike | None = None,
) -> RotatedBoxPrediction:
    """The prediction of an image of (height, width) from its objects, without those wholly outside of it."""
    limits = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
    boxes = np.clip(hulls(corners.reshape(-1, 4, 2)), 0, limits).astype(np.float32)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return RotatedBoxPrediction(corners[inside], boxes[inside], scores[inside], labels[inside], spec, image)
