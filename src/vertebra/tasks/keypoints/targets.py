"""Tensors of the keypoints task: targets of the loss, and decoded outputs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class KeypointTargets(NamedTuple):
    """The targets of a batch of labeled images.

    Attributes:
        points: (N, M, K, 3) float32 of x, y in canvas pixels and visibility (0 not labeled, 1 hidden, 2 visible).
        boxes: (N, M, 4) float32, xyxy in canvas pixels, padded with 0.
        labels: (N, M) int64 class ids, padded with -1.
        count: (N,) int64, how many of the M are real.
    """

    points: Tensor
    boxes: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count


class KeypointDecoded(NamedTuple):
    """Decoded outputs of a keypoints branch, of fixed shape, best first.

    Attributes:
        points: (N, D, K, 2) float32 of x, y in canvas pixels, padded with 0.
        point_scores: (N, D, K) in 0..1.
        boxes: (N, D, 4) float32, xyxy in canvas pixels, padded with 0.
        scores: (N, D) in 0..1, padded with 0.
        labels: (N, D) int64, padded with -1.
        count: (N,) int64, how many of the D are real.
    """

    points: Tensor
    point_scores: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
