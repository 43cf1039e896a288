"""The check that an exported file says the same as the model, at another batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.export.onnx import export_onnx
from vertebra.model import VisionModel


def check_export(model: VisionModel, folder: Path, *, batch: int = 3, relative: float = 1e-4) -> Path:
    """Exports a model, runs the file in ONNX Runtime at a batch size that it was not exported with, and compares.

    Args:
        folder: where the file goes.
        batch: the batch size to run with.
        relative: largest difference allowed, relative to the largest value of each output.

    Returns:
        The file.
    """
    import onnxruntime

    channels = model.backbone.in_channels
    path = export_onnx(model, folder / "model.onnx")  # type: ignore[arg-type]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    check_free_batch(session)
    height, width = model.plan.size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)  # type: ignore[arg-type]
    sizes = torch.tensor([[height, width]] + [[height - 3, width - 5]] * (batch - 1))
    with torch.no_grad():
        expected = [leaf.numpy() for leaf in tree.tree_leaves(model(images, sizes))]
    got = session.run(None, {"images": images.numpy(), "sizes": sizes.numpy()})
    names = [output.name for output in session.get_outputs()]
    reorder_ties(names, expected, got)
    for name, left, right in zip(names, expected, got, strict=True):
        assert left.shape == right.shape, f"'{name}' has shape {right.shape} in ONNX Runtime, {left.shape} in PyTorch"
        scale = float(np.abs(left).max()) or 1.0
        worst = float(np.abs(left.astype(np.float64) - right.astype(np.float64)).max()) / scale
        assert worst <= relative, f"'{name}' differs by {worst:.1e} of its largest value"
    return path


def reorder_ties(names: list[str], expected: list[Any], got: list[Any], near: float = 1e-6) -> None:
    """Brings boxes whose scores differ by rounding only into the order that PyTorch has them in, in place.

    Args:
        names: of the outputs; those that share a branch with an output ``scores`` (N, D), and have D too, are reordered.
        expected, got: the outputs of PyTorch and of ONNX Runtime.
        near: how close two scores must be to count as one.
    """
    for branch in [name.removesuffix("/scores") for name in names if name.endswith("/scores")]:
        scores, boxes = names.index(f"{branch}/scores"), names.index(f"{branch}/boxes")
        same = np.abs(expected[scores][:, :, None] - got[scores][:, None]) <= near
        apart = np.abs(expected[boxes][:, :, None] - got[boxes][:, None]).max(axis=-1)
        places = np.arange(apart.shape[1])
        moved = 1e-9 * np.abs(places[:, None] - places)  # padding, which is all alike, stays where it is
        order = np.where(same, apart + moved, np.inf).argmin(axis=2)
        if (np.sort(order, axis=1) != places).any():
            continue  # no order makes them equal: left as they are
        for number, name in enumerate(names):
            if name.startswith(f"{branch}/") and got[number].shape[1:2] == order.shape[1:]:
                got[number] = np.stack([values[own] for values, own in zip(got[number], order, strict=True)])


def check_free_batch(session: Any) -> None:
    """The batch of every input and output is free: a name or nothing, not a number."""
    for value in [*session.get_inputs(), *session.get_outputs()]:
        assert not isinstance(value.shape[0], int), f"the batch of '{value.name}' is frozen at {value.shape[0]}"
