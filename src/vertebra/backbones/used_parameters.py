"""The parameters on which an output of a module depends, computed by autograd on the meta device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call


class _Call(nn.Module):
    """A module whose forward calls ``run``."""

    def __init__(self, body: nn.Module, run: Callable[[Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.body = body
        self._run = run

    def forward(self, images: Tensor) -> list[Tensor]:
        return self._run(images)


def used_parameters(body: nn.Module, run: Callable[[Tensor], list[Tensor]], images: Tensor) -> set[str]:
    """Names of the parameters of ``body`` on which the outputs of ``run`` depend.

    It runs on the meta device, where tensors have no values, so that nothing is computed.

    Args:
        run: a function that calls ``body`` or its submodules.
        images: on the meta device.
    """
    modes = {module: module.training for module in body.modules()}
    body.eval()
    with torch.inference_mode(False), torch.enable_grad(), torch.device("meta"):
        shapes: dict[str, Tensor] = {
            f"body.{name}": torch.empty(value.shape, dtype=value.dtype).requires_grad_(value.is_floating_point())
            for name, value in body.named_parameters()
        }
        buffers = {f"body.{name}": torch.empty(value.shape, dtype=value.dtype) for name, value in body.named_buffers()}
        outputs = functional_call(_Call(body, run), {**shapes, **buffers}, (images.clone(),), tie_weights=False)
        total = torch.stack([value.sum() for value in outputs]).sum()
        gradients = torch.autograd.grad(total, list(shapes.values()), allow_unused=True)
    for module, mode in modes.items():
        module.training = mode
    return {
        name.removeprefix("body.") for name, gradient in zip(shapes, gradients, strict=True) if gradient is not None
    }
