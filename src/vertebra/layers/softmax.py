"""Softmax over the channels of maps."""

from __future__ import annotations

import torch
from torch import Tensor


def channel_softmax(logits: Tensor) -> Tensor:
    """Probabilities (N, K, h, w) of logits (N, K, h, w).

    For channels-last maps PyTorch's softmax makes a contiguous copy and takes four times as long as one over the last
    dimension, so the channels are moved there. In an exported graph the softmax is written out, since ONNX Runtime's softmax
    over channels takes ten times as long as these steps.
    """
    if torch.compiler.is_exporting():
        grown = (logits - logits.amax(dim=1, keepdim=True)).exp()
        return grown / grown.sum(dim=1, keepdim=True)
    last = not torch.compiler.is_compiling() and logits.is_contiguous(memory_format=torch.channels_last)
    return logits.movedim(1, -1).softmax(dim=-1).movedim(-1, 1) if last else logits.softmax(dim=1)
