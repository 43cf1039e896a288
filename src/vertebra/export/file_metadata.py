"""Metadata of an exported file: its producer, inputs and outputs, and the thresholds and rules by which outputs are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vertebra import __version__
from vertebra.export.torch_export import example
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.runtimes.model_files.checksum import append_checksum
from vertebra.runtimes.model_files.metadata import KEY, LARGEST, THRESHOLD

PRODUCER = "vertebra"
BATCH, HEIGHT, WIDTH = "batch", "height", "width"
INPUTS = {  # by name: the type, and the names of dynamic dimensions
    "pixels": ("uint8", (BATCH, HEIGHT, WIDTH, None)),
    "images": ("uint8", (BATCH, None, HEIGHT, WIDTH)),
    "sizes": ("int64", (BATCH, None)),
}
OBJECT_THRESHOLD = 0.3  # the default minimum score of objects in prediction
CLASS_THRESHOLD = 0.5  # the minimum probability of a class, where classes may overlap
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
        inputs: by name, the shape; dynamic dimensions are not numbers.
        outputs: by name, the type and the shape.
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


def input_shape(name: str, shape: Sequence[Any]) -> list[Any]:
    """The shape of an input with named dynamic dimensions."""
    return [side if isinstance(side, int) else own for side, own in zip(shape, INPUTS[name][1], strict=True)]


def output_shape(shape: Sequence[Any]) -> list[Any]:
    """The shape of an output with named dynamic dimensions: first the batch, last the height and width of the input."""
    names = [BATCH, *[None] * (len(shape) - 3), HEIGHT, WIDTH] if len(shape) > 2 else [BATCH, WIDTH]
    return [side if isinstance(side, int) else own for side, own in zip(shape, names, strict=False)]


def output_types(model: VisionModel) -> list[str]:
    """The types of the decoded outputs, in order."""
    with torch.no_grad():
        decoded = model(*example(model, model.resize_spec.size, 1))
    return [str(value.dtype).removeprefix("torch.") for own in decoded.values() for value in own]


def _decoding(model: VisionModel, name: str, labels: Any) -> dict[str, Any]:
    """How the outputs of a branch are read: the largest one, or those above a threshold; and the post-processing in the graph."""
    postprocess = model.branch(name).decoder.postprocess
    done = (
        {"postprocess": dataclasses.asdict(postprocess)}
        if dataclasses.is_dataclass(postprocess) and not isinstance(postprocess, type)
        else {}
    )
    exclusive = getattr(labels, "exclusive", None)  # None: what is found are objects
    if exclusive:
        return {"rule": LARGEST, **done}
    return {"rule": THRESHOLD, "threshold": OBJECT_THRESHOLD if exclusive is None else CLASS_THRESHOLD, **done}


def describe_onnx(path: Path, metadata: str) -> None:
    """Adds producer, metadata, names of dimensions and the checksum to an ONNX file, and removes the exporter's notes on its nodes
    (stack traces, which name local folders).
    """
    import onnx

    proto = onnx.load(str(path))
    proto.producer_name, proto.producer_version = PRODUCER, __version__
    proto.metadata_props.add(key=KEY, value=metadata)
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del proto.graph.value_info[:]  # they use the former names of dimensions
    for value in proto.graph.input:
        _name(value, input_shape(value.name, _sides(value)))
    for value in proto.graph.output:
        _name(value, output_shape(_sides(value)))
    onnx.save(proto, str(path))
    append_checksum(path)


def _sides(value: Any) -> list[Any]:
    return [side.dim_value if side.HasField("dim_value") else None for side in value.type.tensor_type.shape.dim]


def _name(value: Any, shape: Sequence[Any]) -> None:
    for side, name in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        if isinstance(name, str):
            side.dim_param = name
