"""Max pooling that halves a map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class HalvingMaxPool(nn.Module):
    """2x2 max pooling with ceil(h / 2) output cells, the size of a level with twice the stride.

    A row and a column of -inf are added instead of torch's ``ceil_mode``, whose rule for the last window makes height and
    width static in ``torch.export``.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """From (N, C, h, w) to (N, C, ceil(h / 2), ceil(w / 2))."""
        return F.max_pool2d(F.pad(maps, (0, 1, 0, 1), value=float("-inf")), 2)
