"""What kinds of files a model can be exported to, and which options go together."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

from vertebra.errors import ConfigError, ExportError, UnknownName, install_command
from vertebra.inference.predictor import model_info
from vertebra.model import VisionModel
from vertebra.tasks import get_task

Kind = Literal["onnx", "openvino", "torch", "executorch"]
Precision = Literal["fp32", "fp16", "int8"]
Canvas = Literal["auto", "fixed", "free"]
Input = Literal["pixels", "canvas"]
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2", "executorch": ".pte"}
BY_TORCH = ("torch", "executorch")  # made from the graph of torch.export, not by way of ONNX
NEEDS = {
    "onnx": ("onnxscript", "onnxruntime"),
    "openvino": ("onnxscript", "onnxruntime", "openvino"),
    "torch": (),
    "executorch": ("executorch",),
}
MAX_BYTES = 2**31 - 2**24  # ONNX's limit, with room for the graph


def kind_of(path: Path, to: str | None) -> Kind:
    """What kind of file is meant.

    Raises:
        ConfigError: the file's name says another kind than ``to``, or none.
    """
    by_suffix = {suffix: kind for kind, suffix in SUFFIXES.items()}
    if to is not None and to not in SUFFIXES:
        raise UnknownName("kind of file", to, SUFFIXES)
    suffix = path.suffix.lower()
    if suffix not in by_suffix or by_suffix[suffix] != (to or by_suffix[suffix]):
        wanted = SUFFIXES[to] if to else ", ".join(by_suffix)
        raise ConfigError(f"{path}: the name of such a file ends in {wanted}")
    kind: Any = by_suffix[suffix]
    return kind  # type: ignore[no-any-return]


def check_options(
    model: VisionModel,
    kind: Kind,
    precision: str,
    input: str,
    canvas: str,
    images: Sequence[Any],
    *,
    class_map: bool = False,
) -> None:
    """Whether a model can be exported so; see `vertebra.export.export_model.export_model` for the options.

    Raises:
        ConfigError: an option is wrong, or the libraries are not installed.
        ExportError: the model is too large.
    """
    if precision not in get_args(Precision):
        raise UnknownName("precision of a file", precision, get_args(Precision))
    if canvas not in get_args(Canvas):
        raise UnknownName("canvas", canvas, get_args(Canvas))
    if input not in get_args(Input):
        raise UnknownName("input of a file", input, get_args(Input))
    if input == "pixels" and kind in BY_TORCH:
        raise ConfigError(f"a {SUFFIXES[kind]} file takes canvases: export it with --input canvas")
    if kind == "executorch" and model.resize_spec.mode == "shortest_edge":
        raise ConfigError(
            "a .pte file has one canvas, and of this model each image has its own (resize 'shortest_edge'); export to onnx"
        )
    if input == "pixels" and canvas == "free":
        raise ConfigError("a file that takes pixels takes images of any size; a free canvas is for --input canvas")
    if kind in BY_TORCH and precision != "fp32":
        raise ConfigError(f"a {SUFFIXES[kind]} file is fp32; for {precision} export to onnx or openvino")
    if class_map:
        _check_class_map(model, input)
    if precision == "int8" and not images:
        raise ConfigError("int8 must see real images, to know how large values become: give some with --calibrate")
    missing = [name for name in NEEDS[kind] if importlib.util.find_spec(name) is None]
    if missing:
        extra = {"openvino": "export,openvino", "executorch": "executorch"}.get(kind, "export")
        raise ConfigError(f"this needs {', '.join(missing)}; install it: {install_command(extra)}")
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if kind not in BY_TORCH and size >= MAX_BYTES:
        raise ExportError(f"the model has {size / 1e9:.1f} GB of weights, and one ONNX file holds less than 2 GB")


def _check_class_map(model: VisionModel, input: str) -> None:
    """Whether a model's file can give class maps."""
    maps = {name: own for name, own in model_info(model).branches.items() if get_task(own[0]).class_map is not None}
    if not maps:
        raise ConfigError("class maps are of models that segment, and this one does not; leave out --class-map")
    for name, (_, labels) in maps.items():
        if not getattr(labels, "exclusive", True):
            raise ConfigError(
                f"the classes of branch '{name}' may overlap, so that a pixel has not one; leave out --class-map"
            )
    if input != "pixels":
        raise ConfigError(
            "class maps are of the images' own pixels: they are for .onnx and .xml files that take pixels, of models whose images "
            "all come onto one canvas"
        )


def versions(kind: Kind) -> dict[str, str]:
    """Of the libraries that make such a file."""
    return {name: version(name) for name in ("torch", *NEEDS[kind])}
