"""A copy of a model for prediction alone: the same function, laid out and folded so that it runs as fast as it can."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn

from vertebra.model import VisionModel
from vertebra.optimize.bn_folding import fold_batch_norm
from vertebra.optimize.checked_copy import CheckedCopy, Optimization, Run, restore_buffers
from vertebra.optimize.conv_add_fusion import fuse_sums
from vertebra.optimize.conv_prepack import PackedConv, pack_convolutions
from vertebra.optimize.dilated_conv_split import split_dilated
from vertebra.optimize.half_precision import Precision, autocast_context, cast_weights, require_precision
from vertebra.optimize.malloc_trim import LARGE, malloc_trim


def optimized_copy(model: VisionModel, device: torch.device | str = "cpu", *, keep: bool = True) -> VisionModel:
    """A copy in evaluation mode whose outputs equal the model's but for rounding (1e-5 of their size in float32), which
    `vertebra.optimize.checked_copy.CheckedCopy` checks.

    BatchNorm is folded into the convolutions before it, and weights of convolutions lie channels last. What neither changes is
    shared with the model, which stays as it is unless ``keep`` is False; later changes of its weights do not reach all of the copy.

    Args:
        model: any model.
        device: where the copy is to run.
        keep: False gives the model itself, changed, and so needs no memory for two.
    """
    fast = CheckedCopy(model, torch.device(device), ON_ANY_DEVICE, _hold_shapes).make()
    return _finished(fast, model, keep)


def inference_copy(
    model: VisionModel, device: torch.device, precision: Precision = "fp32", *, pack: bool = True, keep: bool = True
) -> VisionModel:
    """An `optimized_copy` that is there to be run and for nothing else: in a precision, and on a CPU with packed convolutions. In
    half precision it has those optimizations that leave the outputs as they are in float32.

    Args:
        model: any model.
        device: where the copy is to run.
        precision: of its weights; run it in `vertebra.optimize.half_precision.autocast_context`.
        pack: whether convolutions are packed on a CPU; not for what is to be compiled.
        keep: see `optimized_copy`.

    Raises:
        ConfigError: there is no such precision, or the device does not compute in it.
    """
    require_precision(precision, device)
    packing = ON_CPU if pack and device.type == "cpu" else ()
    checked = CheckedCopy(model, device, [*ON_ANY_DEVICE, *packing], _hold_shapes)
    fast = checked.make()
    if precision != "fp32":
        del fast
        with autocast_context(precision, device):
            fast = checked.build([*ON_ANY_DEVICE, _cast_to(precision, device), *packing])
    del checked  # and with it the weights of a model that is not kept
    return _finished(fast, model, keep)


def _channels_last(model: nn.Module, runs: Sequence[Run], skip: Collection[nn.Module]) -> int:
    """Convolutions' weights channels last, as new tensors: the model that they are shared with keeps its own. A weight that is
    computed at each call stays as it is."""
    changed = 0
    for module in model.modules():
        weight = module._parameters.get("weight")
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and weight is not None and module not in skip:
            laid_out = weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(laid_out, requires_grad=False)
            malloc_trim(laid_out.nbytes)
            changed += 1
    return changed


def _packed(model: nn.Module) -> list[PackedConv]:
    return [module for module in model.modules() if isinstance(module, PackedConv)]


def _hold_shapes(model: nn.Module) -> None:
    """Only the first run packs weights: that takes as long as the run itself."""
    for conv in _packed(model):
        if not conv.held:
            conv.hold()


ON_ANY_DEVICE = (
    Optimization("BatchNorm folding", lambda model, runs, skip: fold_batch_norm(model, *runs, skip=skip)),
    Optimization("channels-last weights", _channels_last),
)
ON_CPU = (
    Optimization("sums fused into convolutions", lambda model, runs, skip: fuse_sums(model, runs[0], skip=skip)),
    Optimization("prepacked convolutions", lambda model, runs, skip: pack_convolutions(model, *runs, skip=skip)),
    Optimization("split dilated convolutions", lambda model, runs, skip: split_dilated(model)),  # of those packed
)


def _cast_to(precision: Precision, device: torch.device) -> Optimization:
    """The weights in half precision, before those optimizations that depend on their type."""
    return Optimization("half precision", lambda model, runs, skip: cast_weights(model, precision, device))


def _finished(fast: VisionModel, model: VisionModel, keep: bool) -> VisionModel:
    """The copy, or the model with the copy's parts."""
    restore_buffers(fast, model)
    for conv in _packed(fast):
        conv.release()
    if not keep:
        model._modules = fast._modules
        fast = model.eval()
    malloc_trim(LARGE)  # the weights that were replaced, and the maps of the runs
    return fast
