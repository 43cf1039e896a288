"""Makes the inference copy of a model: the same function with folded, fused and prepacked layers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import torch
from torch import nn

from vertebra.model import VisionModel
from vertebra.optimize.bn_folding import fold_batch_norm
from vertebra.optimize.checked_copy import CheckedCopy, NotCopyable, Optimization, Run, restore_buffers
from vertebra.optimize.conv_add_fusion import fuse_sums
from vertebra.optimize.conv_prepack import PackedConv, pack_convolutions
from vertebra.optimize.dilated_conv_split import split_dilated
from vertebra.optimize.half_precision import Precision, autocast_context, cast_weights, require_precision
from vertebra.optimize.malloc_trim import LARGE, malloc_trim
from vertebra.optimize.model_itself import device_of, user_hooks

LOGGER = logging.getLogger(__name__)


def optimized_copy(model: VisionModel, device: torch.device | str = "cpu", *, inplace: bool = False) -> VisionModel:
    """A copy in evaluation mode whose outputs equal the model's up to rounding (1e-5 of their size in float32), as checked by
    `vertebra.optimize.checked_copy.CheckedCopy`.

    BatchNorm is folded into the convolutions before it, and convolution weights are channels last. All other tensors are shared
    with the model, which is not changed unless ``inplace`` is true. Later changes of the model's weights reach the copy only in
    part.

    Args:
        model: any model.
        device: of the copy.
        inplace: change the model itself and return it, to save memory: there are two sets of weights only until the copy
            has been compared.
    """
    optimized = CheckedCopy(model, torch.device(device), ON_ANY_DEVICE, _hold_shapes).make()
    return _finished(optimized, model, inplace)


def inference_copy(
    model: VisionModel, device: torch.device, precision: Precision = "fp32", *, pack: bool = True, inplace: bool = False
) -> VisionModel:
    """An `optimized_copy` that can only predict: in a precision, and with prepacked convolutions on a CPU. In half precision it
    has the optimizations that passed the comparison in float32.

    It is the model itself, unchanged, where the model has hooks of its user, which a copy would call with test images and on
    other modules; and where the model cannot be copied. The log has the reason. The model then runs on its device, and needs
    `vertebra.optimize.model_itself.evaluation_mode`; with ``inplace=True`` it is moved to ``device`` and is in evaluation mode.

    Args:
        model: any model.
        device: of the copy.
        precision: of its weights; run it in `vertebra.optimize.half_precision.autocast_context`.
        pack: whether convolutions are prepacked on a CPU; False for a model that will be compiled.
        inplace: see `optimized_copy`.

    Raises:
        ConfigError: there is no such precision, or the device does not compute in it.
    """
    require_precision(precision, device)
    hooked = user_hooks(model)
    if hooked:
        listed = ", ".join(hooked[:3]) + (" …" if len(hooked) > 3 else "")
        return _model_itself(model, device, inplace, f"it has hooks ({listed}), which must run on its own modules only")
    try:
        return _checked_copy(model, device, precision, pack, inplace)
    except NotCopyable as error:
        return _model_itself(model, device, inplace, f"it cannot be copied ({error})")


def _model_itself(model: VisionModel, device: torch.device, inplace: bool, reason: str) -> VisionModel:
    LOGGER.warning("prediction runs with the model itself, without optimizations: %s", reason)
    if inplace:
        return model.to(device).eval()
    current = device_of(model, device)
    if current.type != device.type:
        LOGGER.warning("prediction runs on %s, where the model is, instead of %s; model.to() moves it", current, device)
    return model


def _checked_copy(
    model: VisionModel, device: torch.device, precision: Precision, pack: bool, inplace: bool
) -> VisionModel:
    cpu_optimizations = ON_CPU if pack and device.type == "cpu" else ()
    checked = CheckedCopy(model, device, [*ON_ANY_DEVICE, *cpu_optimizations], _hold_shapes)
    optimized = checked.make()
    if precision != "fp32":
        del optimized
        with autocast_context(precision, device):
            optimized = checked.build([*ON_ANY_DEVICE, _cast_to(precision, device), *cpu_optimizations])
    del checked  # frees the weights of a model that is changed in place
    return _finished(optimized, model, inplace)


def _channels_last(model: nn.Module, runs: Sequence[Run], skip: Collection[nn.Module]) -> int:
    """Stores convolution weights channels last, as new tensors; the original model keeps its own. Weights that are computed in
    each call are not changed."""
    changed = 0
    for module in model.modules():
        weight = module._parameters.get("weight")
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and weight is not None and module not in skip:
            channels_last = weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(channels_last, requires_grad=False)
            malloc_trim(channels_last.nbytes)
            changed += 1
    return changed


def _packed(model: nn.Module) -> list[PackedConv]:
    return [module for module in model.modules() if isinstance(module, PackedConv)]


def _hold_shapes(model: nn.Module) -> None:
    """Stops later runs from packing weights again, since packing takes as long as a run."""
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
    """Casts the weights to half precision, before the optimizations that depend on their type."""
    return Optimization("half precision", lambda model, runs, skip: cast_weights(model, precision, device))


def _finished(optimized: VisionModel, model: VisionModel, inplace: bool) -> VisionModel:
    """The copy, or the model with the copy's modules."""
    restore_buffers(optimized, model)
    for conv in _packed(optimized):
        conv.release()
    if inplace:
        model._modules = optimized._modules
        optimized = model.eval()
    malloc_trim(LARGE)  # frees the replaced weights, and the maps of the runs
    return optimized
