"""Tensors of the classify task: targets of the loss, and decoded outputs."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ClassifyTargets(NamedTuple):
    """The targets of a batch of labeled images.

    Attributes:
        labels: (N,) int64 class ids where classes are exclusive; else (N, K) float32 of 0 and 1. Batches with an image that is
            mixed of several have (N, K) float32 probabilities of the classes.
        known: (N, K) bool, the classes that count, where they may overlap; None for all.
    """

    labels: Tensor
    known: Tensor | None = None


class ClassifyDecoded(NamedTuple):
    """Decoded outputs of a classify branch.

    Attributes:
        probabilities: (N, K) softmax or sigmoid.
    """

    probabilities: Tensor
