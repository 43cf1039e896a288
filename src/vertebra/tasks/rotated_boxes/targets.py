"""Tensors of the task of rotated boxes: targets of the loss, and decoded outputs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RotatedBoxTargets(NamedTuple):
    """The targets of a batch of labeled images.

    Attributes:
        corners: (N, M, 4, 2) float32 of x, y in canvas pixels, see `vertebra.geometry.rectangles`; padded with 0.
        labels: (N, M) int64 class ids, padded with -1.
        crowd: (N, M) bool, True for a box that marks a crowd or a region to ignore. Padded with False.
        count: (N,) int64, how many of the M are real; 0 for an image without objects.
        exhaustive: (N, K) bool, the classes of which all objects in the image are annotated; None for all.
    """

    corners: Tensor
    labels: Tensor
    crowd: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
    exhaustive: Tensor | None = None


class RotatedBoxDecoded(NamedTuple):
    """Decoded outputs of a branch, of fixed shape, best first.

    Attributes:
        corners: (N, D, 4, 2) float32 of x, y in canvas pixels, not clipped to the image; padded with 0.
        boxes: (N, D, 4) float32, xyxy, the upright boxes around the corners, clipped to the image; padded with 0.
        scores: (N, D) in 0..1, padded with 0.
        labels: (N, D) int64, padded with -1.
        count: (N,) int64, how many of the D are real.
    """

    corners: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
