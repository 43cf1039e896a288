"""Prepacks convolutions for oneDNN on a CPU: weights are reordered once, and the activation is fused.

By default PyTorch reorders the weights for oneDNN in every call, and runs the activation as a separate pass over the maps. For
single images that is a fifth of a ResNet-50's time. The operators used here are those that ``torch.compile`` uses on a CPU; they
compute the same sums.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.optimize.dataflow_trace import DataflowTrace, common_pairs, trace_runs, unique_parents
from vertebra.optimize.foreign_modules import is_altered
from vertebra.optimize.malloc_trim import malloc_trim

Step = tuple[str, list[float], str]  # activation, its parameters and its variant, as oneDNN's operators name them


def pack_convolutions(model: nn.Module, *runs: Callable[[], Any], skip: Collection[nn.Module] = ()) -> int:
    """Prepacks the convolutions of a model for a CPU, in place. Afterwards the model can only predict; it cannot be trained,
    saved or exported.

    A convolution is not packed if another operation reads its weight, if the model contains it twice, or if hooks run with it. An
    activation is not fused if it has other inputs, or if hooks run with it.

    Args:
        model: in evaluation mode, on the CPU; shared with no other model.
        runs: each runs the model once, with a different batch size and image size, and returns the model's outputs.
        skip: modules that are not changed.

    Returns:
        The number of packed convolutions; 0 if this PyTorch has no oneDNN.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    traces = trace_runs(_ActivationTrace, model, runs)
    parents = {module: parent for module, parent in unique_parents(model, skip).items() if not is_altered(module)}
    packed = [
        conv
        for conv in traces[0].calls
        if conv in parents and _fits(conv) and all(trace.alone(conv) for trace in traces)
    ]
    readers = (
        {} if torch.ops.mkldnn._is_mkldnn_acl_supported() else dict(common_pairs(traces))
    )  # Arm's library has no fused operators
    for conv in packed:
        reader = readers.get(conv)
        activation = reader if reader is not None and reader in parents and step(reader) is not None else None
        parent, name = parents[conv]
        setattr(parent, name, PackedConv(cast(nn.Conv2d, conv), activation))
        if activation is not None:
            parent, name = parents[activation]
            setattr(parent, name, nn.Identity())
    return len(packed)


def step(activation: nn.Module) -> Step | None:
    """The oneDNN post-operation of an activation; None if oneDNN has none."""
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
    """Convolution and activation prepacked for the first input shape; repacked when another shape occurs twice in a row, otherwise
    falls back to `F.conv2d`.

    oneDNN's weight layout depends on the input shape, and a layout for another shape can be ten times slower than the plain one.
    Inputs of another shape, such as the last batch of a folder, therefore use the plain layout, which is kept only if such inputs
    occur.

    Args:
        conv: the convolution.
        activation: the activation after it, or None.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation
        self._plain: Tensor | None = conv.weight.detach()
        conv.register_parameter("weight", None)
        self.step: Step = (None if activation is None else step(activation)) or ("none", [], "")
        self.geometry: list[Any] = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self._packed: tuple[torch.Size, Tensor] | None = (
            None  # set in one assignment, so that threads may share the module
        )
        self._other: torch.Size | None = None  # the last input shape, if it is not the packed one
        self.held = False

    def __getattr__(self, name: str) -> Any:
        """Attributes of the convolution, such as its stride."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return self._weight() if name == "weight" else getattr(super().__getattr__("conv"), name)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, C, h, w) to maps."""
        return self._run(maps, self._weight_for(maps))

    def _run(self, maps: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            padding, stride, dilation, groups = self.geometry
            result: Tensor = F.conv2d(maps, self._weight(), self.conv.bias, stride, padding, dilation, groups)  # type: ignore[call-overload]
            return result if self.activation is None else cast(Tensor, self.activation(result))
        return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
            maps.to(weight.dtype), weight, self.conv.bias, *self.geometry, *self.step
        )

    def plus(self, maps: Tensor, other: Tensor, rectified: bool) -> Tensor:
        """The convolution's output plus maps of the same shape; see `vertebra.optimize.conv_add_fusion`."""
        weight = self._weight_for(maps)
        if weight is None or self.activation is not None or other.shape != self._result_shape(maps):
            total = self._run(maps, weight) + other
            return total.relu() if rectified else total
        return torch.ops.mkldnn._convolution_pointwise.binary(  # type: ignore[no-any-return]
            maps.to(weight.dtype),
            other.to(weight.dtype),
            weight,
            self.conv.bias,
            *self.geometry,
            "add",
            1.0,
            "relu" if rectified else None,
            [],
            None,
        )

    def hold(self) -> None:
        """Drops the packed weight, and packs no other one until `release` is called."""
        self._plain, self._packed, self._other = self._weight(), None, None
        self.held = True

    def release(self) -> None:
        """Packs the weight at the next call again."""
        self.held = False

    def _result_shape(self, maps: Tensor) -> tuple[int, ...]:
        padding, stride, dilation, _ = self.geometry
        sides = zip(maps.shape[2:], self.conv.kernel_size, padding, stride, dilation, strict=True)
        return (
            maps.shape[0],
            self.conv.out_channels,
            *((side + 2 * pad - dilate * (kernel - 1) - 1) // step + 1 for side, kernel, pad, step, dilate in sides),
        )

    def _weight_for(self, maps: Tensor) -> Tensor | None:
        """The weight packed for the shape of these maps; None where it is packed for another shape."""
        packed = self._packed
        if self.held:
            return None
        if packed is None or (packed[0] != maps.shape and self._other == maps.shape):
            packed = self._packed = (maps.shape, self._pack(maps))
            self._plain = None
            malloc_trim(packed[1].nbytes)
        fits = packed[0] == maps.shape
        self._other = None if fits else maps.shape
        return packed[1] if fits else None

    def _weight(self) -> Tensor:
        """In the plain layout."""
        plain = self._plain
        if plain is None:
            assert self._packed is not None
            plain = self._plain = self._packed[1].to_dense().contiguous(memory_format=torch.channels_last)
        return plain

    def _pack(self, maps: Tensor) -> Tensor:
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(self._weight(), *self.geometry, list(maps.shape))
        return packed


def _fits(conv: Any) -> bool:
    """Whether a module is a plain convolution in a data type that this machine supports."""
    if type(conv) is not nn.Conv2d or isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        return False
    if conv.weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return conv.weight.dtype == torch.float32


class _ActivationTrace(DataflowTrace):
    """Traces which activations read the outputs of convolutions, and counts how often each convolution is called as a module."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__(root)
        self.modules_called: dict[nn.Module, int] = {}
        self._root = root
        self._inside: nn.Module | None = None
        self._hooks: list[Any] = []

    def reader(self, func: Any, args: Any) -> nn.Module | None:
        """The activation whose ``forward`` is running."""
        return self._inside

    def __enter__(self) -> _ActivationTrace:
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

    def alone(self, conv: nn.Module) -> bool:
        """Whether a convolution is only called on batches, and nothing else reads its weight."""
        return conv not in self.exposed and self.modules_called.get(conv) == self.calls[conv]

    def _entered(self, module: nn.Module, args: Any) -> None:
        self._inside = module

    def _left(self, module: nn.Module, args: Any, result: Any) -> None:
        self._inside = None

    def _called(self, module: nn.Module, args: Any, result: Any) -> None:
        if args[0].dim() == 4:
            self.modules_called[module] = self.modules_called.get(module, 0) + 1
