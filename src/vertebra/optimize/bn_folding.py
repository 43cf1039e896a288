"""Folds BatchNorm into the convolution before it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vertebra.layers.norm import PooledBatchNorm
from vertebra.optimize.dataflow_trace import DataflowTrace, by_tensor, common_pairs, trace_runs, unique_parents
from vertebra.optimize.foreign_modules import is_altered
from vertebra.optimize.malloc_trim import malloc_trim

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, PooledBatchNorm, BatchNormAct2d)


def fold_batch_norm(model: nn.Module, *runs: Callable[[], Any], skip: Collection[nn.Module] = ()) -> int:
    """Folds every BatchNorm that can be folded, in place. The folded weights are new tensors; tensors shared with another copy of
    the model do not change.

    The data flow is traced by running the model, so this works for any architecture. A norm is folded if its only input is the
    output of one convolution and nothing else reads that output. A norm is not folded if the model contains it twice, if it is in
    training mode, if another operation reads its tensors or the convolution's weight, or if a hook runs with it or receives the
    convolution's output.

    Args:
        model: in evaluation mode.
        runs: each runs the model once, with a different batch size and image size, and returns the model's outputs.
        skip: modules that are not changed.

    Returns:
        The number of folded norms.
    """
    parents = unique_parents(model, skip)
    traces = trace_runs(NormTrace, model, runs)
    pairs = [
        (conv, norm)
        for conv, norm in common_pairs(traces)
        if norm in parents
        and conv in parents
        and not (norm.training or is_altered(norm) or conv._forward_hooks or "forward" in vars(conv))
        and not any(norm in trace.read_elsewhere or conv in trace.exposed for trace in traces)
    ]
    for conv, norm in pairs:
        _merge(conv, norm)
        malloc_trim(cast(Tensor, conv.weight).nbytes)
        parent, name = parents[norm]
        setattr(parent, name, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())
    return len(pairs)


def _merge(conv: Any, norm: Any) -> None:
    """Merges a norm into the weight and bias of a convolution, computed in float64."""
    transposed = isinstance(conv, nn.ConvTranspose2d)
    tensors = [conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias]
    bias, mean, var, scale, shift = (None if value is None else value.detach().double() for value in tensors)
    assert mean is not None and var is not None
    weight = conv.weight.detach()
    merged = fuse_conv_bn_weights(weight, bias, mean, var, norm.eps, scale, shift, transposed)  # type: ignore[arg-type]
    conv.weight, conv.bias = (
        nn.Parameter(value.detach().to(conv.weight.dtype), requires_grad=False) for value in merged
    )


class NormTrace(DataflowTrace):
    """Traces which norms read the outputs of convolutions. Norms are recognized by their tensors.

    Attributes:
        read_elsewhere: norms whose tensors another operation reads too.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__(root)
        norms = [module for module in root.modules() if type(module) in NORMS]
        self.norms = by_tensor("running_mean", norms)
        self.read_elsewhere: set[nn.Module] = set()
        self._tensors = {
            id(value): norm
            for norm in norms
            for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            if value is not None
        }

    def reader(self, func: Any, args: Any) -> nn.Module | None:
        """The norm that makes the call."""
        return self.norms.get(id(args[1])) if func is nn.functional.batch_norm and len(args) > 1 else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.batch_norm and func is not torch.batch_norm:
            self.read_elsewhere |= {self._tensors[id(value)] for value in args if id(value) in self._tensors}
        return super().__torch_function__(func, types, args, kwargs)
