"""The graph of a model by ``torch.export``, without tracing: what every kind of file is made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.errors import ExportError
from vertebra.export.suppress_output import quiet
from vertebra.geometry.nms import onnx_translation_table
from vertebra.model import VisionModel
from vertebra.optimize.inference_copy import optimized_copy

BATCH = 2  # of the example that a file is made with
RAW = "raw/"  # what the names of raw outputs begin with


class Flat(nn.Module):
    """The model with plain tensors at its root: the decoded outputs, and after them the raw ones if they are asked for.

    Args:
        model: what runs.
        raw: whether the decoders' raw outputs are given as well.
    """

    def __init__(self, model: VisionModel, raw: bool = False) -> None:
        super().__init__()
        self.model = model
        self.raw = raw

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        outputs, decoded = self.model.run(images, sizes)
        return (*tree.tree_leaves(decoded), *(raw_outputs(self.model, outputs) if self.raw else []))


def raw_outputs(model: VisionModel, outputs: Mapping[str, Any]) -> list[Tensor]:
    """The raw outputs that can be compared number by number: not of a decoder that orders them by scores found inside, nor of
    a branch that reads another one's boxes in their order.

    Args:
        model: what gave them.
        outputs: by branch, as of `VisionModel.run`.
    """
    branches = {name: model.branch(name) for name in outputs}
    own = [
        outputs[name] for name, branch in branches.items() if branch.boxes_from is None and not branch.decoder.selects
    ]
    return [value for value in tree.tree_leaves(own) if isinstance(value, Tensor)]


def output_names(model: VisionModel) -> list[str]:
    """``branch/field`` of each decoded output, in order."""
    with torch.no_grad():
        decoded = model(*example(model, model.resize_spec.size, 1))
    return [f"{name}/{field}" for name, own in decoded.items() for field in own._fields]


def write_onnx(model: VisionModel, path: Path, names: list[str], *, free: bool) -> None:
    """The graph as an ONNX file, with the decoded outputs and after them the raw ones.

    Args:
        model: in evaluation mode, on the CPU.
        path: the file to write.
        names: of the decoded outputs.
        free: whether the canvas' height and width are left free; the batch always is.

    Raises:
        ExportError: torch cannot make it.
    """
    flat = Flat(optimized_copy(model), raw=True).eval()
    images, sizes = example(model, canvas_of_example(model, free), BATCH)
    with torch.no_grad():
        raw = len(flat(images, sizes)) - len(names)
    with quiet():
        try:
            program = torch.onnx.export(
                flat,
                (images, sizes),
                dynamo=True,
                dynamic_shapes=_shapes(free),
                input_names=["images", "sizes"],
                output_names=[*names, *(f"{RAW}{place}" for place in range(raw))],
                custom_translation_table=onnx_translation_table(),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise _cannot(error, free) from error
    assert program is not None
    program.save(str(path))


def write_torch(model: VisionModel, path: Path, *, free: bool) -> None:
    """The graph as a ``.pt2`` file of ``torch.export.save``; see `write_onnx`."""
    with quiet():
        try:
            program = torch.export.export(
                Flat(optimized_copy(model)).eval(),
                example(model, canvas_of_example(model, free), BATCH),
                dynamic_shapes=_shapes(free),
            )
        except Exception as error:  # torch.export raises what it meets
            raise _cannot(error, free) from error
        torch.export.save(program, path)  # it warns of constants that are views; the file is compared with the model


def _shapes(free: bool) -> tuple[dict[int, Any], dict[int, Any]]:
    any_size = torch.export.Dim.DYNAMIC
    return ({0: any_size, 2: any_size, 3: any_size} if free else {0: any_size}), {0: any_size}


def example(model: VisionModel, canvas: tuple[int, int], batch: int) -> tuple[Tensor, Tensor]:
    channels = model.backbone.in_channels
    return torch.zeros(batch, channels, *canvas, dtype=torch.uint8), torch.tensor([list(canvas)] * batch)


def canvas_of_example(model: VisionModel, free: bool) -> tuple[int, int]:
    """(height, width) of the canvas that a graph is made with: the model's own, or where it is to be free one on which the coarsest
    level has several cells, and several windows where a backbone's attention stays within windows: 1 is taken for fixed."""
    height, width = model.resize_spec.size
    if not free:
        return height, width
    strides = [level.stride for name in model.branches for level in model.branch(name).decoder.in_spec.levels]
    deepest: int = max(level.stride for level in model.backbone.out_spec.levels)  # type: ignore[union-attr]
    least = max(3 * max(strides, default=1), (_widest_window(model.backbone) + 1) * deepest)
    return max(height, least), max(width, least)


def _widest_window(model: nn.Module) -> int:
    """Cells on the longer side of the largest window that attention stays within, as timm's backbones tell it; 0 without one."""
    told = [getattr(layer, "window_size", 0) for layer in model.modules()]
    sides = [side for size in told for side in (size if isinstance(size, tuple | list) else (size,))]
    return max((side for side in sides if isinstance(side, int)), default=0)


def _cannot(error: BaseException, free: bool) -> ExportError:
    return ExportError(f"torch cannot export this model{' with a free canvas' if free else ''}: {reason(error)}")


def reason(error: BaseException) -> str:
    """The line of an exporter's error that tells most: the innermost cause's first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
