"""How far the raw outputs of two versions of a model lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.model import VisionModel
from vertebra.optimize.probe_batches import ProbeBatch

TOLERANCE = 1e-4  # of a raw output's scale
NOISE = 3e-7  # relative change of weights that stands for float32's rounding
NOISE_MARGIN = 10.0  # how many times the change by such noise is taken for rounding
MIN_SPREAD = 0.01  # the least scale of a tensor, as a part of its largest value


def raw_outputs(model: VisionModel, batch: ProbeBatch) -> list[Tensor]:
    """What is compared of a model: the decoders' raw outputs in float32, before any decision of decoding; and the features that
    reach those decoders which decide inside, by scores or by another branch's boxes.

    Args:
        model: in evaluation mode.
        batch: on the model's device.
    """
    features: list[Any] = []
    branches = [model.branch(name) for name in model.branches]
    deciding = [branch.decoder for branch in branches if branch.decoder.selects or branch.boxes_from is not None]
    hooks = [decoder.register_forward_pre_hook(lambda _, given: features.append(given[0])) for decoder in deciding]
    device = batch.images.device.type
    try:
        with torch.no_grad(), torch.autocast(device, enabled=False):
            outputs, _ = model.run(batch.images, batch.sizes)
    finally:
        for hook in hooks:
            hook.remove()
    maps = [[*own.maps, own.embedding] for own in features]
    return [
        value.clone()
        for value in tree.tree_leaves([outputs, maps])
        if isinstance(value, Tensor) and value.is_floating_point()
    ]


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of two tensors, relative to the scale of the second one: its largest distance from its mean, which a
    constant offset does not hide, or a hundredth of its largest value where that is more. Infinite where shapes differ, or
    values that are not finite."""
    if ours.shape != theirs.shape:
        return float("inf")
    if not theirs.numel():
        return 0.0
    ours, theirs = ours.detach().double(), theirs.detach().double()
    finite = theirs.isfinite()
    if not torch.equal(ours.isfinite(), finite) or not torch.equal(
        ours[~finite].nan_to_num(), theirs[~finite].nan_to_num()
    ):
        return float("inf")
    ours, theirs = ours[finite], theirs[finite]
    if not theirs.numel():
        return 0.0
    largest = float((ours - theirs).abs().max())
    scale = max(float((theirs - theirs.mean()).abs().max()), MIN_SPREAD * float(theirs.abs().max()))
    return largest / scale if scale else (0.0 if largest == 0.0 else float("inf"))


def differences(ours: Sequence[Sequence[Tensor]], theirs: Sequence[Sequence[Tensor]]) -> list[list[float]]:
    """Of each batch, the `difference` of each output; infinite for all where their numbers differ."""
    return [
        [difference(left, right) for left, right in zip(one, other, strict=True)]
        if len(one) == len(other)
        else [float("inf")] * len(other)
        for one, other in zip(ours, theirs, strict=True)
    ]


@torch.no_grad()
def add_rounding_noise(model: nn.Module) -> None:
    """Replaces each float parameter by one that differs in the last digits of float32: how far the outputs move by that is how
    far correct arithmetic in another order may move them."""
    draw = torch.Generator().manual_seed(0)
    changed: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, value in list(module._parameters.items()):
            if value is not None and value.is_floating_point():
                if id(value) not in changed:
                    factor = 1 + NOISE * torch.randn(value.shape, generator=draw)
                    changed[id(value)] = nn.Parameter(value * factor.to(value.device, value.dtype), requires_grad=False)
                module._parameters[name] = changed[id(value)]


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Without TF32 or bfloat16 inside of float32's products. The switches are the process': other threads compute as exactly in
    the meantime."""
    matmul, convolutions = (
        torch.get_float32_matmul_precision(),
        device.type == "cuda" and torch.backends.cudnn.allow_tf32,
    )
    if matmul != "highest":
        torch.set_float32_matmul_precision("highest")
    if convolutions:
        torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        if matmul != "highest":
            torch.set_float32_matmul_precision(matmul)
        if convolutions:
            torch.backends.cudnn.allow_tf32 = True
