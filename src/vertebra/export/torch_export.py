"""The graph of a model for ``torch.export``, from which every export target is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.errors import ExportError
from vertebra.model import VisionModel

BATCH = 2  # batch size of the example input
RAW = "raw/"  # prefix of the names of raw outputs


class Flat(nn.Module):
    """The model with plain tensors as outputs: the decoded ones, followed by the raw ones if ``raw``.

    Args:
        model: the model.
        raw: whether the decoders' raw outputs are returned too.
    """

    def __init__(self, model: VisionModel, raw: bool = False) -> None:
        super().__init__()
        self.model = model
        self.raw = raw

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        outputs, decoded = self.model.run(images, sizes)
        return (*tree.tree_leaves(decoded), *(raw_outputs(self.model, outputs) if self.raw else []))


def raw_outputs(model: VisionModel, outputs: Mapping[str, Any]) -> list[Tensor]:
    """The raw outputs that can be compared number by number. Outputs whose order depends on scores are left out: those of
    decoders that sort by score, and of branches that read another branch's boxes.

    Args:
        model: the model.
        outputs: by branch, from `VisionModel.run`.
    """
    branches = {name: model.branch(name) for name in outputs}
    comparable = [
        outputs[name] for name, branch in branches.items() if branch.boxes_from is None and not branch.decoder.selects
    ]
    return [value for value in tree.tree_leaves(comparable) if isinstance(value, Tensor)]


def output_names(model: VisionModel) -> list[str]:
    """``branch/field`` of each decoded output, in order."""
    with torch.no_grad():
        decoded = model(*example(model, model.resize_spec.size, 1))
    return [f"{name}/{field}" for name, fields in decoded.items() for field in fields._fields]


def dynamic_shapes(free: bool) -> tuple[dict[int, Any], dict[int, Any]]:
    """The free dimensions of ``images`` and ``sizes``: the batch, and the canvas' height and width if ``free``."""
    any_size = torch.export.Dim.DYNAMIC
    return ({0: any_size, 2: any_size, 3: any_size} if free else {0: any_size}), {0: any_size}


def example(model: VisionModel, canvas: tuple[int, int], batch: int) -> tuple[Tensor, Tensor]:
    """Images (N, C, height, width) uint8, all zero, that fill their canvas, and their sizes (N, 2) int64."""
    channels = model.backbone.in_channels
    return torch.zeros(batch, channels, *canvas, dtype=torch.uint8), torch.tensor([list(canvas)] * batch)


def canvas_of_example(model: VisionModel, free: bool) -> tuple[int, int]:
    """(height, width) of the canvas that the graph is traced with: the model's.

    For a free canvas it is enlarged until the coarsest level has several cells, and several windows for a backbone with window
    attention, because ``torch.export`` treats a size of 1 as fixed.
    """
    height, width = model.resize_spec.size
    if not free:
        return height, width
    strides = [level.stride for name in model.branches for level in model.branch(name).decoder.in_spec.levels]
    coarsest: int = max(level.stride for level in model.backbone.out_spec.levels)  # type: ignore[union-attr]
    min_side = max(3 * max(strides, default=1), (_widest_window(model.backbone) + 1) * coarsest)
    return max(height, min_side), max(width, min_side)


def _widest_window(model: nn.Module) -> int:
    """The longer side, in cells, of the largest attention window, as timm's backbones declare it; 0 without one."""
    windows = [getattr(layer, "window_size", 0) for layer in model.modules()]
    sides = [side for size in windows for side in (size if isinstance(size, tuple | list) else (size,))]
    return max((side for side in sides if isinstance(side, int)), default=0)


def export_error(error: BaseException, free: bool) -> ExportError:
    """The error for a model that torch cannot export."""
    return ExportError(f"torch cannot export this model{' with a free canvas' if free else ''}: {reason(error)}")


def reason(error: BaseException) -> str:
    """The most specific line of an exporter's error: the first line of its innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
