"""Sums over the processes of a run."""

from __future__ import annotations

import torch.distributed as distributed
from torch import Tensor


def has_processes() -> bool:
    """Whether this is one of several processes that train together."""
    return distributed.is_available() and distributed.is_initialized()


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, each of which must call this; the tensor itself where there is only one."""
    if has_processes():
        values = values.clone()
        distributed.all_reduce(values)
    return values
