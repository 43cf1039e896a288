"""Tensors of the detect task: targets of the loss, and decoded outputs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class DetectTargets(NamedTuple):
    """The targets of a batch of labeled images.

    Attributes:
        boxes: (N, M, 4) float32, xyxy in canvas pixels, padded with 0.
        labels: (N, M) int64 class ids, padded with -1.
        crowd: (N, M) bool, True for a box that marks a crowd or a region to ignore: it is not a target, and predictions
            inside it are not counted as errors. Padded with False.
        count: (N,) int64, how many of the M are real; 0 for an image without objects.
        exhaustive: (N, K) bool, the classes of which all objects in the image are annotated: only for these, what is no object
            counts as background. None for all.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
    exhaustive: Tensor | None = None


class DetectDecoded(NamedTuple):
    """Decoded outputs of a detect branch, of fixed shape, best first.

    Attributes:
        boxes: (N, D, 4) float32, xyxy in canvas pixels, padded with 0.
        scores: (N, D) in 0..1, padded with 0.
        labels: (N, D) int64, padded with -1.
        count: (N,) int64, how many of the D are real.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
