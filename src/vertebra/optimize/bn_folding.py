"""BatchNorm folded into the convolutions before it: the same function with one step less."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vertebra.layers.norm import PooledBatchNorm
from vertebra.optimize.dataflow_trace import Watch, agreed, by_tensor, single_places, watched
from vertebra.optimize.foreign_modules import is_altered
from vertebra.optimize.malloc_trim import malloc_trim

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, PooledBatchNorm, BatchNormAct2d)


def fold_batch_norm(model: nn.Module, *runs: Callable[[], Any], skip: Collection[nn.Module] = ()) -> int:
    """Folds every BatchNorm that can be folded, in place. Weights of the convolutions become new tensors; what is shared with
    another copy of the model stays as it is there.

    Where a result of a convolution goes is seen by running the model, so that it needs to know no architecture: a norm is
    folded if it reads nothing but the results of one convolution, and nothing else reads those. A norm that stands in two places of
    the model stays; so does one in training mode, one where something else reads its tensors or the convolution's weight, and one
    that hooks run with, or whose convolution's result a hook gets.

    Args:
        model: in evaluation mode.
        runs: each runs the model once, on a batch of a count and a size of its own, and returns what it gave.
        skip: modules that stay as they are.

    Returns:
        How many norms were folded.
    """
    places = single_places(model, skip)
    seen = watched(NormWatch, model, runs)
    pairs = [
        (conv, norm)
        for conv, norm in agreed(seen)
        if norm in places
        and conv in places
        and not (norm.training or is_altered(norm) or conv._forward_hooks or "forward" in vars(conv))
        and not any(norm in watch.read_elsewhere or conv in watch.exposed for watch in seen)
    ]
    for conv, norm in pairs:
        _merge(conv, norm)
        malloc_trim(cast(Tensor, conv.weight).nbytes)
        parent, name = places[norm]
        setattr(parent, name, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())
    return len(pairs)


def _merge(conv: Any, norm: Any) -> None:
    """Gives a convolution the weights that do what it and the norm did, worked out in float64."""
    transposed = isinstance(conv, nn.ConvTranspose2d)
    given = [conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias]
    bias, mean, var, scale, shift = (None if value is None else value.detach().double() for value in given)
    assert mean is not None and var is not None
    weight = conv.weight.detach()
    merged = fuse_conv_bn_weights(weight, bias, mean, var, norm.eps, scale, shift, transposed)  # type: ignore[arg-type]
    conv.weight, conv.bias = (
        nn.Parameter(value.detach().to(conv.weight.dtype), requires_grad=False) for value in merged
    )


class NormWatch(Watch):
    """Notes which norms read the results of convolutions. Norms are recognized by their tensors.

    Attributes:
        read_elsewhere: norms whose tensors something else asked for as well.
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
        """The norm that a call belongs to."""
        return self.norms.get(id(args[1])) if func is nn.functional.batch_norm and len(args) > 1 else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nn.functional.batch_norm and func is not torch.batch_norm:
            self.read_elsewhere |= {self._tensors[id(value)] for value in args if id(value) in self._tensors}
        return super().__torch_function__(func, types, args, kwargs)
