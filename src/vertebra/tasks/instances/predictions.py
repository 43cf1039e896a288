"""From decoded arrays to predictions of the instances task (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.paste import pasted_region
from vertebra.tasks.instances.types import InstancePrediction, region_array
from vertebra.tasks.thresholds import ScoreThreshold

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray],
    transform: ImageTransform,
    spec: InstanceLabels,
    image: ImageLike | None = None,
    threshold: ScoreThreshold | None = None,
) -> InstancePrediction:
    """The prediction of one image: masks and boxes in the original image's pixels; boxes are clipped to it.

    An object without a pixel in the image is dropped.

    Args:
        decoded: one image's arrays of `vertebra.tasks.instances.targets.InstanceDecoded`, in its order: masks (D, S, S) over
            boxes (D, 4) in canvas pixels, scores (D,), labels (D,) and how many of the D are real.
        transform: the position of the image on the canvas.
        spec: the classes.
        image: the predicted image, for pictures.
        threshold: objects below this score, or that of their class, are left out before their masks are drawn; None for all.
    """
    masks, canvas_boxes, scores, labels, real = decoded
    scores = np.asarray(scores, dtype=np.float32)[: int(real)]
    labels = np.asarray(labels, dtype=np.int64)[: int(real)]
    if threshold is None:
        reached = np.arange(len(scores))
    else:
        reached = np.flatnonzero(scores >= (threshold[labels] if isinstance(threshold, np.ndarray) else threshold))
    corners = np.asarray(canvas_boxes, dtype=np.float32)[reached].reshape(-1, 2, 2)
    boxes = transform.points_to_image(corners).reshape(-1, 4)
    size = transform.original
    rles = [
        pasted_region(np.asarray(masks[row]), box, size, whole_pixels=spec.whole_pixel_masks)
        for row, box in zip(reached.tolist(), boxes, strict=True)
    ]
    filled = np.array([region.area > 0 for region in rles], dtype=bool)
    limits = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
    prediction = InstancePrediction(
        rles=region_array(rles)[filled],
        boxes=np.clip(boxes[filled], 0, limits).astype(np.float32),
        scores=scores[reached][filled],
        class_ids=labels[reached][filled],
        size=(size[0], size[1]),
        spec=spec,
        image=image,
    )
    return prediction if threshold is None else prediction.apply_threshold(threshold)
