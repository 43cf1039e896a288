"""Tensors of the box_attributes task: targets of the loss, and decoded outputs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class AttributeTargets(NamedTuple):
    """The objects of a batch that have a value of the attribute.

    Attributes:
        boxes: (N, M, 4) float32, xyxy in canvas pixels, padded with 0.
        values: (N, M) int64 class ids, padded with -1; where an object may have several, (N, M, K) float32 of 0 and 1, padded
            with 0.
        labels: (N, M) int64, the classes of the objects, padded with -1.
        count: (N,) int64, how many of the M are real.
    """

    boxes: Tensor
    values: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count


class AttributeDecoded(NamedTuple):
    """The boxes of another branch in its order, with the probability of each value.

    Attributes:
        boxes: (N, D, 4) float32, xyxy in canvas pixels, padded with 0.
        scores: (N, D) in 0..1, of the boxes, padded with 0.
        labels: (N, D) int64, the classes of the objects, padded with -1.
        count: (N,) int64, how many of the D are real.
        probabilities: (N, D, K) softmax or sigmoid, padded with 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
    probabilities: Tensor
