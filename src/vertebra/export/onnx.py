"""A model as an ONNX file, by ``torch.export`` (no tracing), with the decoding inside."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils import _pytree as tree

from vertebra.errors import ConfigError
from vertebra.geometry.nms import onnx_translation_table
from vertebra.model import VisionModel


class _Flat(nn.Module):
    """The model with plain tensors at its root: ONNX has no dataclasses."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        return tuple(tree.tree_leaves(self.model(images, sizes)))


def output_names(model: VisionModel, batch: Tensor, sizes: Tensor) -> list[str]:
    """``branch/field`` of each output, in order."""
    with torch.no_grad():
        decoded = model(batch, sizes)
    return [f"{name}/{field}" for name, own in decoded.items() for field in own._fields]


def export_onnx(model: VisionModel, path: Path, *, dynamic_size: bool = False) -> Path:
    """Writes the graph of `VisionModel.forward`: canvases to decoded outputs, for any batch size.

    Inputs: ``images`` (N, C, H, W) uint8 and ``sizes`` (N, 2) int64; outputs are named ``branch/field``.

    Args:
        path: the file to write.
        dynamic_size: leave the canvas' height and width free too, where the architecture allows it.

    Raises:
        ConfigError: the libraries for it are not installed.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise ConfigError("writing ONNX needs the extra 'export'; install it: pip install 'vertebra[export]'")
    model = model.cpu().eval()
    height, width = model.plan.size
    channels: int = model.backbone.in_channels  # type: ignore[assignment]
    images = torch.zeros(2, channels, height, width, dtype=torch.uint8)
    sizes = torch.tensor([[height, width]] * 2)
    names = output_names(model, images, sizes)
    free = torch.export.Dim.DYNAMIC
    shape = {0: free, 2: free, 3: free} if dynamic_size else {0: free}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Flat(model),
            (images, sizes),
            dynamo=True,
            dynamic_shapes=(shape, {0: free}),
            input_names=["images", "sizes"],
            output_names=names,
            custom_translation_table=onnx_translation_table(),
            verbose=False,
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path))
    return path
