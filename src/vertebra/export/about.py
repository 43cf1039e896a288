"""What an exported file says of itself beside the model's classes: how it is fed, what comes out, and how that is to be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vertebra import __version__
from vertebra.export.program import example
from vertebra.inference.checksum import seal
from vertebra.inference.face import Face
from vertebra.inference.metadata import KEY, LARGEST, THRESHOLD
from vertebra.model import VisionModel

PRODUCER = "vertebra"
BATCH, HEIGHT, WIDTH = "batch", "height", "width"
INPUTS = {  # by name: its type, and the names of its free dimensions
    "pixels": ("uint8", (BATCH, HEIGHT, WIDTH, None)),
    "images": ("uint8", (BATCH, None, HEIGHT, WIDTH)),
    "sizes": ("int64", (BATCH, None)),
}
OBJECTS = 0.3  # the score from which predictions keep an object, unless another is asked for
OVERLAPPING = 0.5  # the probability from which a thing is of a class, where classes may overlap
ROTATION = "apply the EXIF orientation of an image file first"


def about(
    model: VisionModel,
    face: Face,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, tuple[str, Sequence[Any]]],
) -> dict[str, Any]:
    """What the file says, JSON-ready.

    Args:
        model: what was exported.
        face: of the model.
        inputs: by name, the shape; a free dimension is no number.
        outputs: by name, the type and the shape.
    """
    return {
        "producer": {"name": PRODUCER, "version": __version__},
        **({"origin": dict(model.origin)} if model.origin else {}),
        "image": {"rotation": ROTATION, "channels": "RGB" if face.channels == 3 else face.channels, "type": "uint8"},
        "inputs": {
            name: {"type": INPUTS[name][0], "shape": input_shape(name, shape)} for name, shape in inputs.items()
        },
        "outputs": {name: {"type": kind, "shape": output_shape(shape)} for name, (kind, shape) in outputs.items()},
        "decoding": {name: _decoding(model, name, labels) for name, (_, labels) in face.branches.items()},
    }


def input_shape(name: str, shape: Sequence[Any]) -> list[Any]:
    """The shape of an input, with names for its free dimensions."""
    return [side if isinstance(side, int) else own for side, own in zip(shape, INPUTS[name][1], strict=True)]


def output_shape(shape: Sequence[Any]) -> list[Any]:
    """The shape of an output: what is free in it is the batch, and at its end the height and width of the input."""
    names = [BATCH, *[None] * (len(shape) - 3), HEIGHT, WIDTH] if len(shape) > 2 else [BATCH, WIDTH]
    return [side if isinstance(side, int) else own for side, own in zip(shape, names, strict=False)]


def output_types(model: VisionModel) -> list[str]:
    """The types of the decoded outputs, in order."""
    with torch.no_grad():
        decoded = model(*example(model, model.plan.size, 1))
    return [str(value.dtype).removeprefix("torch.") for own in decoded.values() for value in own]


def _decoding(model: VisionModel, name: str, labels: Any) -> dict[str, Any]:
    """How a branch's outputs become an answer: the threshold, or the largest one, and what was done with them in the file."""
    post = getattr(model.branch(name).decoder, "post", None)
    done = {"post": dataclasses.asdict(post)} if dataclasses.is_dataclass(post) and not isinstance(post, type) else {}
    exclusive = getattr(labels, "exclusive", None)  # None: what is found are objects
    if exclusive:
        return {"rule": LARGEST, **done}
    return {"rule": THRESHOLD, "threshold": OBJECTS if exclusive is None else OVERLAPPING, **done}


def describe_onnx(path: Path, metadata: str) -> None:
    """Writes into an ONNX file who made it and what it says of itself, names its dimensions, takes out what is for the authors of a
    graph alone (stack traces, which name local folders), and adds the checksum.

    Args:
        path: the file.
        metadata: what it says of itself.
    """
    import onnx

    proto = onnx.load(str(path))
    proto.producer_name, proto.producer_version = PRODUCER, __version__
    proto.metadata_props.add(key=KEY, value=metadata)
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del proto.graph.value_info[:]  # they have the names that were there before
    for value in proto.graph.input:
        _name(value, input_shape(value.name, _sides(value)))
    for value in proto.graph.output:
        _name(value, output_shape(_sides(value)))
    onnx.save(proto, str(path))
    seal(path)


def _sides(value: Any) -> list[Any]:
    return [side.dim_value if side.HasField("dim_value") else None for side in value.type.tensor_type.shape.dim]


def _name(value: Any, shape: Sequence[Any]) -> None:
    for side, name in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        if isinstance(name, str):
            side.dim_param = name
