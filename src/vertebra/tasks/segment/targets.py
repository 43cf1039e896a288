"""Tensors of the segment task: targets of the loss, and decoded outputs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SegmentTargets(NamedTuple):
    """The targets of a batch of labeled images.

    Attributes:
        masks: where classes are exclusive (N, H, W) int64 of class ids; else (N, K, H, W) uint8 of 0 and 1. Pixels to
            ignore, and the canvas outside the image, hold the ignore index. (H, W) is the unpadded canvas.
        exhaustive: (N, K) bool of exclusive classes, those that are annotated, see `vertebra.tasks.segment.scope`; None for all.
    """

    masks: Tensor
    exhaustive: Tensor | None = None


class SegmentDecoded(NamedTuple):
    """Decoded outputs of a segment branch.

    Attributes:
        probabilities: (N, K, H, W) softmax or sigmoid, at the size of the unpadded canvas.
    """

    probabilities: Tensor
