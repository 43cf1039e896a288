"""A backup of the buffers that a forward pass changes: running statistics of norms and their counters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from vertebra.evaluation.process_sums import has_processes


class BufferBackup:
    """The buffers of a module as they were before a step.

    Only buffers in the module's state dict are copied; the others are constants.

    Args:
        module: its buffers change in place.
    """

    def __init__(self, module: nn.Module) -> None:
        self.buffers = saved_buffers(module)
        self.numbers = [value for value in self.buffers if value.is_floating_point()]
        self.copies = [value.clone() for value in self.buffers]

    @torch.no_grad()
    def save(self) -> None:
        """Copies the current values of the buffers."""
        if self.buffers:
            torch._foreach_copy_(self.copies, self.buffers)

    @torch.no_grad()
    def restore(self) -> None:
        """Sets the buffers to their values at the last `save`."""
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.copies)

    @torch.no_grad()
    def size(self) -> Tensor | None:
        """() sum of all absolute values, which is not finite if any value is not; None without buffers."""
        return torch.nn.utils.get_total_norm(self.numbers, norm_type=1.0) if self.numbers else None


def saved_buffers(module: nn.Module) -> list[Tensor]:
    """The buffers in a module's state dict."""
    saved = module.state_dict().keys()
    return [buffer for name, buffer in module.named_buffers() if name in saved]


@torch.no_grad()
def copy_from_first_process(tensors: Sequence[Tensor]) -> None:
    """Sets tensors to those of the first process, in all processes; each must call it.

    Each process updates its running statistics from its part of a batch. DDP makes them equal before a step; they must be before an
    evaluation, too, so that all images are evaluated with the statistics that are saved.
    """
    if not has_processes():
        return
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors):
        same = [tensor for tensor in tensors if tensor.dtype == kind]
        values = torch.cat([tensor.flatten() for tensor in same])
        values = values.to(torch.uint8) if kind == torch.bool else values  # gloo exchanges no booleans
        distributed.broadcast(values, src=0)
        parts = torch.split(values, [tensor.numel() for tensor in same])
        for tensor, part in zip(same, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))
