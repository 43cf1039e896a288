"""Label scopes of the images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def stacked_scopes(scopes: Sequence[np.ndarray | None], class_count: int) -> Any:
    """The classes that are annotated in each image of a batch, as a tensor (N, class_count) bool; None if they are all everywhere.

    Args:
        scopes: (class_count,) bool of each image; None for all.
    """
    import torch

    if all(scope is None for scope in scopes):
        return None
    whole = np.ones(class_count, dtype=bool)
    return torch.from_numpy(np.stack([whole if scope is None else scope for scope in scopes]))
