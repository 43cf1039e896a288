"""BatchNorm folded into the convolutions before it: the same function with one step less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vertebra.layers.norm import PooledBatchNorm
from vertebra.optimize.dataflow_trace import Watch, agreed, single_places, watched
from vertebra.optimize.malloc_trim import malloc_trim

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, PooledBatchNorm, BatchNormAct2d)


def fold_batch_norm(model: nn.Module, *runs: Callable[[], Any]) -> int:
    """Folds every BatchNorm that can be folded, in place. Weights of the convolutions become new tensors; what is shared with
    another copy of the model stays as it is there.

    Where a result of a convolution goes is seen by running the model, so that it needs to know no architecture: a norm is
    folded if it reads nothing but the results of one convolution, and nothing else reads those. A norm that stands in two places of
    the model stays.

    Args:
        model: in evaluation mode.
        runs: each runs the model once, on images of a size of its own, and returns what it gave.

    Returns:
        How many norms were folded.
    """
    places = single_places(model)
    pairs = [
        (conv, norm) for conv, norm in agreed(watched(NormWatch, model, runs)) if norm in places and conv in places
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
    """Notes which norms read the results of convolutions. Norms are told by their tensors."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__(root)
        self.norms = {
            id(module.running_mean): module
            for module in root.modules()
            if type(module) in NORMS and module.running_mean is not None
        }

    def reader(self, func: Any, args: Any) -> nn.Module | None:
        """The norm that a call belongs to."""
        return self.norms.get(id(args[1])) if func is nn.functional.batch_norm and len(args) > 1 else None
