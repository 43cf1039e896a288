"""The probabilities of an image's pixels, for calibration (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.object_scores import Confidences, class_confidences, decision_confidences
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.scope import certain_mask
from vertebra.tasks.segment.types import SegmentPrediction

MAX_PIXELS = 2000  # of an image, spread evenly over it


def confidences(prediction: SegmentPrediction, annotation: SegmentAnnotation) -> Confidences:
    """The probabilities of some labeled pixels: one row a pixel for exclusive classes, else one for each pixel and class.

    Args:
        prediction: with probabilities.
        annotation: of the same size.
    """
    assert prediction.probabilities is not None, "the caller asks for probabilities"
    spec = prediction.spec
    mask = certain_mask(annotation, spec)
    probabilities = prediction.probabilities.reshape(spec.class_count, -1)
    if not spec.multilabel:
        labeled = _some(np.flatnonzero(mask.ravel() != spec.ignore_index))
        return class_confidences(probabilities[:, labeled].T, mask.ravel()[labeled])
    layers = mask.reshape(spec.class_count, -1) if mask.ndim == 3 else _layers(mask, spec.class_count)
    pixels = _some(np.arange(layers.shape[1]))
    known = np.broadcast_to(
        mask.reshape(-1, layers.shape[1])[:, pixels] != spec.ignore_index, (len(layers), len(pixels))
    )
    return decision_confidences(probabilities[:, pixels][known], layers[:, pixels][known] == 1)


def _layers(mask: np.ndarray, classes: int) -> np.ndarray:
    """(K, pixels) of 0 and 1."""
    layers: np.ndarray = (mask.reshape(1, -1) == np.arange(classes)[:, None]).astype(np.uint8)
    return layers


def _some(pixels: np.ndarray) -> np.ndarray:
    """At most `MAX_PIXELS` of some pixels, evenly spread."""
    return pixels[:: max(1, -(-len(pixels) // MAX_PIXELS))]
