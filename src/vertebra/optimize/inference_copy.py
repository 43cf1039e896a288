"""A copy of a model for prediction alone: the same function, laid out and folded so that it runs as fast as it can."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import torch
from torch import nn

from vertebra.model import VisionModel
from vertebra.optimize.bn_folding import fold_batch_norm
from vertebra.optimize.conv_add_fusion import fuse_sums
from vertebra.optimize.conv_prepack import pack_convolutions
from vertebra.optimize.dilated_conv_split import split_dilated
from vertebra.optimize.half_precision import Precision, autocast_context, cast_weights
from vertebra.optimize.malloc_trim import LARGE, malloc_trim

PLAIN = (bool, int, float, str, tuple, list, type(None))
PASSING = ("training",)  # attributes that do not change what a model says


def optimized_copy(model: VisionModel, device: torch.device | str = "cpu", *, keep: bool = True) -> VisionModel:
    """A copy in evaluation mode whose outputs are the model's but for the last digits (1e-5 of their size in float32).

    BatchNorm is folded into the convolutions before it, and weights of convolutions lie channels last. What neither changes is
    shared with the model, which stays as it is unless ``keep`` is False; later changes of its weights do not reach all of the copy.

    Args:
        model: any model.
        device: where the copy is to run.
        keep: False gives the model itself, changed, and so needs no memory for two.
    """
    fast = model
    if keep:
        kept: list[torch.Tensor] = [*model.parameters(), *model.buffers()]
        fast = copy.deepcopy(model, {id(value): value for value in kept})
    fast = _moved(fast, torch.device(device)).eval()
    fold_batch_norm(fast, *_runs(fast, torch.device(device)))
    _channels_last(fast)
    return fast


def inference_copy(
    model: VisionModel, device: torch.device, precision: Precision = "fp32", *, pack: bool = True, keep: bool = True
) -> VisionModel:
    """A `optimized_copy` that is there to be run and for nothing else: in a precision, and on a CPU with packed convolutions.

    Args:
        model: any model.
        device: where the copy is to run.
        precision: of its weights; run it in `vertebra.optimize.half_precision.autocast_context`.
        pack: whether convolutions are packed on a CPU; not for what is to be compiled.
        keep: see `optimized_copy`.

    Raises:
        ConfigError: there is no such precision, or the device does not compute in it.
    """
    fast = optimized_copy(model, device, keep=keep)
    cast_weights(fast, precision, device)
    if pack and device.type == "cpu":
        with autocast_context(precision, device):
            runs = _runs(fast, device)
            fuse_sums(fast, runs[0])
            pack_convolutions(fast, *runs)
            split_dilated(fast)
        malloc_trim(LARGE)  # the maps of the runs
    return fast


def signature(model: VisionModel) -> Hashable | None:
    """Changes whenever the model's outputs may have: with each tensor in place or content, each module, each plain option.

    None for a model that was made in inference mode, whose tensors do not tell of changes.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if any(value.is_inference() for value in tensors):
        return None
    modules = [
        (
            id(module),
            repr([(name, value) for name, value in vars(module).items() if _plain(value) and name not in PASSING]),
        )
        for module in model.modules()
    ]
    return (*((value.data_ptr(), value._version) for value in tensors), *modules)


def _plain(value: Any) -> bool:
    return isinstance(value, PLAIN) or dataclasses.is_dataclass(value)


def _runs(model: VisionModel, device: torch.device) -> list[Callable[[], Any]]:
    """Runs of a model that only look at its ways: on two small canvases, and on two whose sides are odd, if it takes any size."""
    backbone: Any = model.backbone
    side = max(64, 2 * max((level.stride for level in backbone.out_spec.levels), default=32))
    canvases = [backbone.fixed_size] if backbone.fixed_size else [(side, side), (side + 9, side + 5)]
    return [partial(_run, model, device, canvas) for canvas in canvases]


def _run(model: VisionModel, device: torch.device, canvas: tuple[int, int]) -> Any:
    channels: Any = model.backbone.in_channels
    images = torch.zeros(2, channels, *canvas, dtype=torch.uint8, device=device)
    return model(images, torch.tensor([canvas] * 2, device=device))


def _moved(model: VisionModel, device: torch.device) -> VisionModel:
    """On the device; tensors that are there already stay shared."""
    if all(value.device.type == device.type for value in (*model.parameters(), *model.buffers())):
        return model
    with torch.no_grad():
        own = {id(value): nn.Parameter(value.to(device), requires_grad=False) for value in model.parameters()}
        for module in model.modules():
            for name, value in module._parameters.items():
                module._parameters[name] = None if value is None else own[id(value)]
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else buffer.to(device)
    return model


def _channels_last(model: nn.Module) -> None:
    """Convolutions' weights channels last, as new tensors: the model that they are shared with keeps its own."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight, requires_grad=False)
            malloc_trim(weight.nbytes)
