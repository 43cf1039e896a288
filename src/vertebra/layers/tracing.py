"""Whether a graph is being made of what runs."""

from __future__ import annotations

import torch
from torch import Tensor


def is_tracing(values: Tensor) -> bool:
    """Whether lengths must not depend on values here: a graph is compiled, exported, or recorded on a GPU.

    Args:
        values: one of the tensors that are computed with.
    """
    return torch.compiler.is_compiling() or (values.is_cuda and torch.cuda.is_current_stream_capturing())
