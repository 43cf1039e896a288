"""Metadata of an exported file: its producer, inputs and outputs, and the rules and thresholds for decoding the outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vertebra import __version__
from vertebra.export.torch_export import example
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.runtimes.model_files.metadata import LARGEST, THRESHOLD
from vertebra.tasks.thresholds import CLASS_THRESHOLD, OBJECT_THRESHOLD

PRODUCER = "vertebra"
BATCH, HEIGHT, WIDTH = "batch", "height", "width"
INPUTS = {  # by name: the type, and the names of dynamic dimensions
    "pixels": ("uint8", (BATCH, HEIGHT, WIDTH, None)),
    "images": ("uint8", (BATCH, None, HEIGHT, WIDTH)),
    "sizes": ("int64", (BATCH, None)),
}
ROTATION = "apply the EXIF orientation of an image file first"


def file_metadata(
    model: VisionModel,
    info: ModelInfo,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, tuple[str, Sequence[Any]]],
) -> dict[str, Any]:
    """The metadata, JSON-ready.

    Args:
        model: the exported model.
        info: of the model.
        inputs: shapes by name; dynamic dimensions are not numbers.
        outputs: types and shapes by name.
    """
    return {
        "producer": {"name": PRODUCER, "version": __version__},
        **({"origin": dict(model.origin)} if model.origin else {}),
        "image": {"rotation": ROTATION, "channels": "RGB" if info.channels == 3 else info.channels, "type": "uint8"},
        "inputs": {
            name: {"type": INPUTS[name][0], "shape": input_shape(name, shape)} for name, shape in inputs.items()
        },
        "outputs": {name: {"type": kind, "shape": output_shape(shape)} for name, (kind, shape) in outputs.items()},
        "decoding": {name: _decoding(model, name, labels) for name, (_, labels) in info.branches.items()},
    }


def input_shape(input_name: str, shape: Sequence[Any]) -> list[Any]:
    """The shape of an input with named dynamic dimensions."""
    return [side if isinstance(side, int) else name for side, name in zip(shape, INPUTS[input_name][1], strict=True)]


def output_shape(shape: Sequence[Any]) -> list[Any]:
    """The shape of an output with named dynamic dimensions: the batch first, the input's height and width last."""
    names = [BATCH, *[None] * (len(shape) - 3), HEIGHT, WIDTH] if len(shape) > 2 else [BATCH, WIDTH]
    return [side if isinstance(side, int) else name for side, name in zip(shape, names, strict=False)]


def output_types(model: VisionModel) -> list[str]:
    """The types of the decoded outputs, in order."""
    with torch.no_grad():
        decoded = model(*example(model, model.resize_spec.size, 1))
    return [str(value.dtype).removeprefix("torch.") for fields in decoded.values() for value in fields]


def _decoding(model: VisionModel, name: str, labels: Any) -> dict[str, Any]:
    """How to decode the outputs of a branch: the largest score, or all above a threshold or above that of their class; and the
    post-processing in the graph."""
    postprocess = model.branch(name).decoder.postprocess
    done = (
        {"postprocess": dataclasses.asdict(postprocess)}
        if dataclasses.is_dataclass(postprocess) and not isinstance(postprocess, type)
        else {}
    )
    if name in model.thresholds:
        done["thresholds"] = dict(model.thresholds[name])
    multilabel = getattr(labels, "multilabel", None)  # None: the branch finds objects
    if multilabel is False:
        return {"rule": LARGEST, **done}
    return {"rule": THRESHOLD, "threshold": OBJECT_THRESHOLD if multilabel is None else CLASS_THRESHOLD, **done}
