"""The numeric precision of a run."""

from __future__ import annotations

import torch
from torch import nn

from vertebra.config import TrainConfig
from vertebra.errors import ConfigError
from vertebra.inference.devices import pick_device
from vertebra.model import VisionModel


def choose_precision(recipe: TrainConfig, model: nn.Module) -> str:
    """Lightning's name of the precision: mixed bfloat16 where the device computes in it faster, else 32 bit.

    On a CPU, torch 2.14 computes wrong weight gradients, even infinite ones, in bfloat16 (oneDNN's kernels; float32 is right) for
    dilated grouped convolutions in channels-last order, and for strided convolutions on maps of one column, such as the
    coarsest levels of a small canvas. Models with such convolutions train in 32 bit there.

    Raises:
        ConfigError: the recipe has mixed bfloat16 where its gradients would be wrong, or mixed float16 on a CPU.
    """
    device = pick_device(
        None if recipe.accelerator == "auto" else {"gpu": "cuda"}.get(recipe.accelerator, recipe.accelerator)
    )
    if recipe.precision == "16-mixed" and device.type == "cpu":  # Lightning would take bfloat16 in its place
        raise ConfigError("train.precision: 16-mixed is for GPUs; on a CPU take bf16-mixed, 32 or auto")
    if recipe.precision == "bf16-mixed" and device.type == "cpu":
        wrong = _wrong_gradients(recipe, model)
        if wrong is not None:
            raise ConfigError(
                f"train.precision: on a CPU torch's bfloat16 gradients of {wrong[0]} are wrong, and this "
                f"model has one ({wrong[1]}); take 32, or auto"
            )
    if recipe.precision != "auto":
        return {"32": "32-true"}.get(recipe.precision, recipe.precision)
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    bf16_cpu = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if bf16_cpu and _wrong_gradients(recipe, model) is None else "32-true"


def _wrong_gradients(recipe: TrainConfig, model: nn.Module) -> tuple[str, str] | None:
    """The kind of convolution with wrong gradients, and the name of one in this model; or None."""
    dilated = dilated_groups(model)
    if dilated is not None:
        return "dilated grouped convolutions", dilated
    narrow = None
    if isinstance(model, VisionModel) and recipe.image_size is not None:
        size = recipe.image_size
        narrow = strided_on_a_column(model, (size, size) if isinstance(size, int) else (size[0], size[1]))
    return None if narrow is None else ("convolutions with a stride on maps of one column", narrow)


@torch.no_grad()
def strided_on_a_column(model: VisionModel, canvas: tuple[int, int]) -> str | None:
    """Name of the first convolution with a stride whose input is a map of one column, or None."""
    narrow: list[str] = []
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, inputs, name=name: narrow.append(name) if inputs[0].shape[-1] == 1 else None  # type: ignore[misc]
        )
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.stride[1] > 1 and layer.kernel_size[1] > 1
    ]
    training = model.training
    try:
        model.eval()(torch.zeros(1, model.backbone.in_channels, *canvas, dtype=torch.uint8))  # type: ignore[call-overload]
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return narrow[0] if narrow else None


def dilated_groups(model: nn.Module) -> str | None:
    """Name of the first grouped (for example depthwise) convolution that is dilated, or None."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and max(layer.dilation) > 1:
            return str(name)
    return None
