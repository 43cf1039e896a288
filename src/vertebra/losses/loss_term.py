"""One named term of a loss, as a sum with its count."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class LossTerm(NamedTuple):
    """A loss term before it is divided.

    The mean of the means per process is not the mean over all processes and accumulated batches if branches are unevenly
    labeled. So a decoder returns the sum and its count, and training divides once, by the total count.

    Attributes:
        sum: () float32 with gradient.
        count: () float32 without gradient; the divisor of the sum (images, valid pixels, positive anchors).
            It may be 0; training divides by at least 1.
    """

    sum: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count

    def mean(self) -> Float[Tensor, ""]:
        """The term alone, divided by its own count (by 1 if the count is smaller)."""
        return self.sum / self.count.clamp(min=1)
