"""Buffers that a step moves before its loss is known: running statistics of norms and their counters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BufferBackup:
    """The buffers of a module as they were before a step.

    Only those that are saved with the module are kept; the others are constants.

    Args:
        module: whose buffers change in place.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters = {id(parameter) for parameter in module.parameters()}
        state = module.state_dict(keep_vars=True).values()
        self.buffers: list[Tensor] = list({id(value): value for value in state if id(value) not in parameters}.values())
        self.numbers = [value for value in self.buffers if value.is_floating_point()]
        self.kept = [value.clone() for value in self.buffers]

    @torch.no_grad()
    def keep(self) -> None:
        """Copies the buffers as they are now."""
        if self.buffers:
            torch._foreach_copy_(self.kept, self.buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        """Makes the buffers what they were when they were kept."""
        if self.buffers:
            torch._foreach_copy_(self.buffers, self.kept)

    @torch.no_grad()
    def size(self) -> Tensor | None:
        """() sum of all absolute values: not finite where any value is not. None without buffers."""
        return torch.nn.utils.get_total_norm(self.numbers, norm_type=1.0) if self.numbers else None
