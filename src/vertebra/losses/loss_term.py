"""One named term of a loss, as a sum with its count."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class LossTerm(NamedTuple):
    """A loss term before it is divided.

    A mean per process is not the mean over all processes and accumulated batches when branches are unevenly labeled.
    So a decoder gives the sum and its count, and training divides once, by the count over all.

    Attributes:
        sum: () float32 with gradient.
        count: () float32 without gradient; what the sum is to be divided by (images, valid pixels, positive anchors).
            It may be 0; training divides by at least 1.
    """

    sum: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count

    def mean(self) -> Float[Tensor, ""]:
        """The term alone, divided by its own count (by 1 where the count is smaller)."""
        return self.sum / self.count.clamp(min=1)
