"""BatchNorm folded into the convolutions before it: the same function with one step less."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree

from vertebra.layers.norm import PooledBatchNorm

CONVOLUTIONS = (torch.conv2d, torch.conv_transpose2d)
ASKED = {"__get__", "__len__", "dim", "is_contiguous", "is_floating_point", "numel", "size", "stride"}
"""Calls that read no value of a tensor; ``__get__`` is its shape or device."""
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, PooledBatchNorm, BatchNormAct2d)


def fold_batch_norm(model: nn.Module, run: Callable[[], Any]) -> int:
    """Folds every BatchNorm that can be folded, in place. Weights of the convolutions become new tensors; what is shared with
    another copy of the model stays as it is there.

    Where a result of a convolution goes is seen by running the model once, so that it needs to know no architecture: a norm is
    folded if it reads nothing but the results of one convolution, and nothing else reads those.

    Args:
        model: in evaluation mode.
        run: runs the model once and returns what it gave.

    Returns:
        How many norms were folded.
    """
    with torch.no_grad(), _Watch(model) as watch:
        pairs = watch.pairs(run())
    places = {child: (parent, name) for parent in model.modules() for name, child in parent.named_children()}
    for conv, norm in pairs:
        _merge(conv, norm)
        parent, name = places[norm]
        setattr(parent, name, nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity())
    return len(pairs)


def _merge(conv: Any, norm: Any) -> None:
    """Gives a convolution the weights that do what it and the norm did, worked out in float64."""
    transposed = isinstance(conv, nn.ConvTranspose2d)
    given = [conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias]
    weight, bias, mean, var, scale, shift = (None if value is None else value.detach().double() for value in given)
    assert weight is not None and mean is not None and var is not None
    merged = fuse_conv_bn_weights(weight, bias, mean, var, norm.eps, scale, shift, transposed)  # type: ignore[arg-type]
    conv.weight, conv.bias = (
        nn.Parameter(value.detach().to(conv.weight.dtype), requires_grad=False) for value in merged
    )


class _Watch(TorchFunctionMode):
    """Notes where the results of convolutions go while a model runs.

    Convolutions and norms are told by their tensors: one whose weight is made anew at each call (weight standardisation) is
    not taken for its module.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.convolutions: dict[int, nn.Module] = {}
        self.norms: dict[int, nn.Module] = {}
        for module in root.modules():
            if type(module) in NORMS and module.running_mean is not None:  # type: ignore[union-attr]
                self.norms[id(module.running_mean)] = module
            elif isinstance(module, nn.Conv2d) or (isinstance(module, nn.ConvTranspose2d) and module.groups == 1):
                self.convolutions[id(module.weight)] = module
        self.results: dict[int, tuple[Tensor, nn.Module]] = {}
        self.calls: dict[nn.Module, int] = defaultdict(int)
        self.readers: dict[nn.Module, list[nn.Module | None]] = defaultdict(list)
        self.norm_calls: dict[nn.Module, int] = defaultdict(int)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") in ASKED:
            return result
        norm = self.norms.get(id(args[1])) if func is nn.functional.batch_norm else None
        if norm is not None:
            self.norm_calls[norm] += 1
        for value in tree.tree_leaves((args, kwargs)):
            found = self.results.get(id(value)) if isinstance(value, Tensor) else None
            if found is not None:
                self.readers[found[1]].append(norm if value is args[0] else None)
        module = self.convolutions.get(id(args[1])) if func in CONVOLUTIONS else None
        if module is not None:
            self.calls[module] += 1
            self.results[id(result)] = (result, module)  # kept, so that no other tensor gets its id
        return result

    def pairs(self, outputs: Any) -> list[tuple[nn.Module, nn.Module]]:
        """Each convolution all of whose results went into one norm and nowhere else, with this norm, which read nothing else.

        Args:
            outputs: what the model gave.
        """
        given = {id(value) for value in tree.tree_leaves(outputs)}
        shown = {module for key, (_, module) in self.results.items() if key in given}
        return [
            (module, norm)
            for module, readers in self.readers.items()
            if (norm := readers[0]) is not None
            and module not in shown
            and readers == [norm] * self.calls[module]
            and self.norm_calls[norm] == self.calls[module]
        ]
