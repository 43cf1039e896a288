"""From decoded arrays to predictions of the detect task (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray], transform: ImageTransform, spec: DetectLabels, image: ImageLike | None = None
) -> DetectPrediction:
    """The prediction of one image: boxes in the original image's pixels, clipped to it.

    A box that lies wholly outside the image (on the padding of the canvas) is dropped.

    Args:
        decoded: one image's arrays of `DetectDecoded`, in its order: boxes (D, 4) xyxy in canvas pixels, scores (D,),
            labels (D,) and count (), how many of the D are real.
        transform: the position of the image on the canvas.
        spec: the classes.
        image: the predicted image, for pictures.
    """
    canvas_boxes, scores, labels, real = decoded
    count = int(real)
    boxes = transform.boxes_to_image(np.asarray(canvas_boxes)[:count]).astype(np.float32)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    scores = np.asarray(scores, dtype=np.float32)[:count]
    labels = np.asarray(labels, dtype=np.int64)[:count]
    return DetectPrediction(boxes[inside], scores[inside], labels[inside], spec, image)
