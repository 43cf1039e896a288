"""Detection of tracing: compilation, export, or CUDA-graph capture."""

from __future__ import annotations

import torch
from torch import Tensor


def is_tracing(values: Tensor) -> bool:
    """True under `torch.compile`, `torch.export` or CUDA-graph capture, where shapes must not depend on values.

    Args:
        values: any tensor of the computation.
    """
    return torch.compiler.is_compiling() or (values.is_cuda and torch.cuda.is_current_stream_capturing())
