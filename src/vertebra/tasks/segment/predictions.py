"""From decoded arrays to predictions of the segment task (numpy and Pillow only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vertebra.errors import ConfigError
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.types import SegmentPrediction
from vertebra.tasks.thresholds import CLASS_THRESHOLD, ScoreThreshold

if TYPE_CHECKING:
    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.tasks.picture import ImageLike


def from_decoded(
    decoded: Sequence[np.ndarray],
    transform: ImageTransform,
    spec: SegmentLabels,
    image: ImageLike | None = None,
    *,
    threshold: ScoreThreshold = CLASS_THRESHOLD,
    keep_probabilities: bool = False,
) -> SegmentPrediction:
    """The prediction of one image: probabilities are resized to the original size before the class of each pixel is decided.

    Args:
        decoded: one image's arrays of `SegmentDecoded`, in its order: probabilities (K, h, w) on the canvas; or, of an exported
            file with class maps, the classes (H, W) in image pixels.
        transform: the position of the image on the canvas.
        spec: the classes.
        image: the predicted image, for pictures.
        threshold: minimum probability of a class at a pixel, of all or of each, for overlapping classes.
        keep_probabilities: keep all K maps of the original size; they take 4 bytes a pixel and class.

    Raises:
        ConfigError: the canvas holds only a part of the image (a center crop); or ``keep_probabilities`` is set for a file
            with class maps.
    """
    if decoded[0].ndim == 2:
        if keep_probabilities:
            raise ConfigError(
                "a file with class maps has no probabilities; export one without class_map=True (--class-map)"
            )
        return SegmentPrediction(np.asarray(decoded[0]).astype(id_type(spec)), spec, None, image)
    if keep_probabilities:
        resized = image_probabilities(decoded, transform)
        return SegmentPrediction(decide(resized, spec, threshold), spec, resized, image)
    valid = valid_maps(decoded, transform)
    if not spec.multilabel:
        return SegmentPrediction(_winners(valid, transform.original).astype(id_type(spec)), spec, None, image)
    limits = np.broadcast_to(threshold, len(valid))
    layers = np.stack(
        [resize_map(layer, transform.original) >= limit for layer, limit in zip(valid, limits, strict=True)]
    )
    return SegmentPrediction(layers, spec, None, image)


def image_probabilities(decoded: Sequence[np.ndarray], transform: ImageTransform) -> np.ndarray:
    """The probabilities of one image's pixels, (K, H, W) float32 of its own size, as a new array; see `from_decoded`."""
    return np.stack([resize_map(layer, transform.original) for layer in valid_maps(decoded, transform)])


def decide(
    probabilities: np.ndarray, spec: SegmentLabels, threshold: ScoreThreshold | None = CLASS_THRESHOLD
) -> np.ndarray:
    """The mask of a `SegmentPrediction` from probabilities (K, H, W): the most probable class of each pixel; where classes may
    overlap, all that reach the threshold, None for the default.
    """
    if not spec.multilabel:
        winners: np.ndarray = probabilities.argmax(axis=0).astype(id_type(spec))
        return winners
    limits = np.broadcast_to(CLASS_THRESHOLD if threshold is None else threshold, len(probabilities))
    return probabilities >= limits[:, None, None]


def id_type(spec: SegmentLabels) -> type[np.unsignedinteger]:
    """The dtype of a mask of class ids."""
    return np.uint8 if spec.class_count <= 256 else np.uint16


def valid_maps(decoded: Sequence[np.ndarray], transform: ImageTransform) -> np.ndarray:
    """The probabilities (K, h, w) of the canvas' valid pixels."""
    if transform.resized != transform.size:
        raise ConfigError(
            "segmentation needs the whole image on the canvas, but a center crop removes its edges; "
            "preprocess with letterbox or resize"
        )
    top, left = transform.top, transform.left
    height, width = transform.size
    (probabilities,) = decoded
    return np.asarray(probabilities, dtype=np.float32)[:, top : top + height, left : left + width]


def resize_map(layer: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) float32, bilinearly resized to ``size`` (height, width), antialiased where it shrinks."""
    if layer.shape == size:
        return layer
    resized = Image.fromarray(np.ascontiguousarray(layer)).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)


def _winners(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The most probable class of each pixel (H, W), of maps (K, h, w) that are resized one by one.

    One map of the original size is in memory at a time. The weights of a bilinear resize are positive and sum to one, so the
    most probable class of a pixel has at least a K-th of the smallest sum of all pixels: a class that reaches this at no
    pixel is never the most probable, and is not resized.
    """
    floor = float(probabilities.sum(axis=0).min()) / len(probabilities)
    best = np.full(size, -np.inf, dtype=np.float32)
    winners = np.zeros(size, dtype=np.int64)
    for class_id in np.flatnonzero(probabilities.max(axis=(1, 2)) >= 0.999 * floor):
        layer = resize_map(probabilities[class_id], size)
        better = layer > best
        winners[better] = class_id
        np.maximum(best, layer, out=best)
    return winners
