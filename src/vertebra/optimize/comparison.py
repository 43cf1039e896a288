"""Numerical comparison of the raw outputs of two versions of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.model import VisionModel
from vertebra.optimize.probe_batches import ProbeBatch

TOLERANCE = 1e-4  # of a raw output's scale
NOISE = 3e-7  # relative noise in the weights that imitates float32 rounding
NOISE_MARGIN = 10.0  # differences up to this multiple of the noise's effect count as rounding
MIN_SPREAD = 0.01  # minimum scale of a tensor, as a fraction of its largest value


class NothingToCompare(Exception):
    """Two versions of a model cannot be compared."""


def raw_outputs(model: VisionModel, batch: ProbeBatch) -> list[Tensor]:
    """The tensors of a model that are compared: the decoders' raw outputs in float32, before decoding; and the input features of
    decoders that select by scores, or by another branch's boxes, inside. Of a decoder whose raw outputs contain no tensors, the
    decoded outputs are compared.

    Args:
        model: in evaluation mode.
        batch: on the model's device.

    Raises:
        NothingToCompare: a branch's outputs contain no tensors of floats.
    """
    features: list[Any] = []
    branches = [model.branch(name) for name in model.branches]
    deciding = [branch.decoder for branch in branches if branch.decoder.selects or branch.boxes_from is not None]
    hooks = [decoder.register_forward_pre_hook(lambda _, args: features.append(args[0])) for decoder in deciding]
    device = batch.images.device.type
    try:
        with torch.no_grad(), torch.autocast(device, enabled=False):
            outputs, decoded = model.run(batch.images, batch.sizes)
    finally:
        for hook in hooks:
            hook.remove()
    maps = [[*feature.maps, feature.embedding] for feature in features]
    compared = []
    for name in model.branches:
        tensors = [*_float_tensors(outputs[name])] or [*_float_tensors(decoded[name])]
        if not tensors:
            raise NothingToCompare(f"the outputs of branch '{name}' contain no tensors of floats")
        compared += tensors
    return [value.clone() for value in (*compared, *_float_tensors(maps))]


def _float_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of floats in nested containers and dataclasses."""
    for leaf in tree.tree_leaves(value):
        if isinstance(leaf, Tensor):
            if leaf.is_floating_point():
                yield leaf
        elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            yield from _float_tensors([getattr(leaf, field.name) for field in dataclasses.fields(leaf)])


def difference(output: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors, relative to the scale of the second one. The scale is its largest deviation from its
    mean (so that a constant offset does not hide differences), and at least a hundredth of its largest value. Infinite where
    shapes or non-finite values differ."""
    if output.shape != expected.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    output, expected = output.detach().double(), expected.detach().double()
    finite = expected.isfinite()
    if not torch.equal(output.isfinite(), finite) or not torch.equal(
        output[~finite].nan_to_num(), expected[~finite].nan_to_num()
    ):
        return float("inf")
    output, expected = output[finite], expected[finite]
    if not expected.numel():
        return 0.0
    largest = float((output - expected).abs().max())
    scale = max(float((expected - expected.mean()).abs().max()), MIN_SPREAD * float(expected.abs().max()))
    return largest / scale if scale else (0.0 if largest == 0.0 else float("inf"))


def differences(outputs: Sequence[Sequence[Tensor]], expected: Sequence[Sequence[Tensor]]) -> list[list[float]]:
    """For each batch, the `difference` of each output; infinite for all outputs of a batch where their counts differ."""
    return [
        [difference(left, right) for left, right in zip(left_batch, right_batch, strict=True)]
        if len(left_batch) == len(right_batch)
        else [float("inf")] * len(right_batch)
        for left_batch, right_batch in zip(outputs, expected, strict=True)
    ]


@torch.no_grad()
def add_rounding_noise(model: nn.Module) -> None:
    """Adds noise of the size of float32 rounding to each float parameter. The effect on the outputs estimates the effect of
    another order of arithmetic."""
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
    """Turns off TF32 and bfloat16 inside float32 products. The switches are global, so other threads compute in full float32
    too meanwhile."""
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
