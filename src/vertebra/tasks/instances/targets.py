"""Tensors of the instances task: targets of the loss, and decoded outputs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class InstanceTargets(NamedTuple):
    """The targets of a batch of labeled images.

    Attributes:
        masks: (N, M, C, C) uint8, the share of each of C x C equal cells of the box that the object covers, 0 to 255; 0 for
            padding.
        boxes: (N, M, 4) float32, xyxy in canvas pixels, the smallest boxes around the masks, padded with 0.
        labels: (N, M) int64 class ids, padded with -1.
        count: (N,) int64, how many of the M are real; crowds are left out.
    """

    masks: Tensor
    boxes: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count


class InstanceDecoded(NamedTuple):
    """Decoded outputs of an instances branch, of fixed shape, best first.

    Attributes:
        masks: (N, D, S, S) in 0..1, the probability of the object in S x S equal cells of its box, padded with 0.
        boxes: (N, D, 4) float32, xyxy in canvas pixels, padded with 0.
        scores: (N, D) in 0..1, padded with 0.
        labels: (N, D) int64, padded with -1.
        count: (N,) int64, how many of the D are real.
    """

    masks: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
