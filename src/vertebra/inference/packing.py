"""Convolutions as a CPU runs them fastest: weights laid out once, and the activation behind in the same step.

PyTorch lays the weights out anew at every call, as oneDNN reads them, and passes over the maps once more for the activation;
with one image a call that is a third of a ResNet-50's time. The operators are those that ``torch.compile`` uses on a CPU, and
compute the same sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vertebra.inference.watching import Watch

Step = tuple[str, list[float], str]  # an activation, its numbers and its variant, as oneDNN's operators name them


def pack_convolutions(model: nn.Module, run: Callable[[], Any]) -> int:
    """Makes the convolutions of a model ready for a CPU, in place. The model is for prediction alone from then on: it has no
    weights of convolutions to train, save or export.

    Args:
        model: in evaluation mode, on the CPU; shared with no other model.
        run: runs it once and returns what it gave, so that it can be seen what follows each convolution.

    Returns:
        How many convolutions were packed; 0 where this PyTorch has no oneDNN.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    with torch.no_grad(), _ActivationWatch(model) as watch:
        outputs = run()
    steps = {conv: (step(reader), reader) for conv, reader in watch.pairs(outputs)}
    packed = 0
    places = {child: (parent, name) for parent in model.modules() for name, child in parent.named_children()}
    for conv, calls in watch.calls.items():
        if not _fits(conv) or watch.modules_called.get(conv) != calls:
            continue
        own, reader = steps.get(conv, (None, None))
        parent, name = places[conv]
        setattr(parent, name, PackedConv(conv, own or ("none", [], "")))
        if own is not None and reader is not None:
            parent, name = places[reader]
            setattr(parent, name, nn.Identity())
        packed += 1
    return packed


def step(activation: nn.Module) -> Step | None:
    """What an activation is to oneDNN; None for one that it does not have."""
    kind = type(activation)
    if kind is nn.ReLU6 or kind is nn.Hardtanh:
        return "hardtanh", [float(activation.min_val), float(activation.max_val)], ""  # type: ignore[arg-type]
    if kind is nn.LeakyReLU:
        return "leaky_relu", [float(activation.negative_slope)], ""  # type: ignore[arg-type]
    if kind is nn.GELU:
        return "gelu", [], str(activation.approximate)
    name = {nn.ReLU: "relu", nn.Hardswish: "hardswish", nn.SiLU: "swish", nn.Sigmoid: "sigmoid"}.get(kind)  # type: ignore[call-overload]
    return None if name is None else (name, [], "")


class PackedConv(nn.Module):
    """A convolution and its activation by oneDNN. Its weights are laid out at the first call, for maps of that size; maps of
    other sizes are computed as well.

    Args:
        conv: what it does.
        step: the activation behind it; "none" for none.
    """

    def __init__(self, conv: Any, step: Step) -> None:
        super().__init__()
        self.geometry = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self.weight, self.bias = conv.weight, conv.bias
        self.step = step
        self._packed: Tensor | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, h, w) to maps."""
        if self._packed is None:
            self._packed = self._pack(maps)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            maps.to(self._packed.dtype), self._packed, self.bias, *self.geometry, *self.step
        )
        return result

    def _pack(self, maps: Tensor) -> Tensor:
        weight = self.weight.detach()
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, list(maps.shape))
        self.weight = None
        return packed


def _fits(conv: Any) -> bool:
    """Whether a module is a plain convolution in a type that this machine computes in."""
    if type(conv) is not nn.Conv2d or isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        return False
    if conv.weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return conv.weight.dtype == torch.float32


class _ActivationWatch(Watch):
    """Notes which activations read the results of convolutions, and how often each convolution was called as a module."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__(root)
        self.modules_called: dict[nn.Module, int] = {}
        self._root = root
        self._inside: nn.Module | None = None
        self._hooks: list[Any] = []

    def reader(self, func: Any, args: Any) -> nn.Module | None:
        """The activation whose ``forward`` is running."""
        return self._inside

    def __enter__(self) -> _ActivationWatch:
        for module in self._root.modules():
            if step(module) is not None:
                self._hooks.append(module.register_forward_pre_hook(self._entered))
                self._hooks.append(module.register_forward_hook(self._left))
            elif isinstance(module, nn.Conv2d):
                self._hooks.append(module.register_forward_hook(self._called))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def _entered(self, module: nn.Module, args: Any) -> None:
        self._inside = module

    def _left(self, module: nn.Module, args: Any, result: Any) -> None:
        self._inside = None

    def _called(self, module: nn.Module, args: Any, result: Any) -> None:
        self.modules_called[module] = self.modules_called.get(module, 0) + 1
