"""Checks the options of an export."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal, get_args

from vertebra.errors import ConfigError, ExportError, UnknownName, install_command
from vertebra.export.targets import BUILT_IN
from vertebra.export.targets.base import ExportTarget
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.tasks import get_task

Precision = Literal["fp32", "fp16", "int8"]
Canvas = Literal["auto", "fixed", "free"]
Input = Literal["pixels", "canvas"]


def default_input(model: VisionModel, target: type[ExportTarget], canvas: str) -> Input:
    """The default input of a file: pixels if possible."""
    possible = target.takes_pixels and model.resize_spec.mode != "shortest_edge" and canvas != "free"
    return "pixels" if possible else "canvas"


def check_options(
    model: VisionModel,
    target: type[ExportTarget],
    precision: str,
    input: str,
    canvas: str,
    images: Sequence[Any],
    *,
    class_map: bool = False,
) -> None:
    """Checks that a model can be exported with these options; see `vertebra.export_model`.

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
    _check_target(model, target, precision, input)
    if input == "pixels" and canvas == "free":
        raise ConfigError(
            "a file that takes pixels takes images of any size; a free canvas is for input='canvas' (--input canvas)"
        )
    if class_map:
        _check_class_map(model, input)
    if precision == "int8" and not images:
        raise ConfigError("int8 is calibrated with real images: images=... (--calibrate)")
    _check_installed(target)


def _check_target(model: VisionModel, target: type[ExportTarget], precision: str, input: str) -> None:
    """Checks that a target supports the precision, the input and the size of the model."""
    suffix = target.format.suffix
    if input == "pixels" and not target.takes_pixels:
        raise ConfigError(f"a {suffix} file takes canvases: export it with input='canvas' (--input canvas)")
    if target.format.fixed_canvas and model.resize_spec.mode == "shortest_edge":
        raise ConfigError(
            f"a {suffix} file has a fixed canvas, but this model has another canvas for each image (resize 'shortest_edge'); "
            "export to onnx"
        )
    if precision not in target.precisions:
        supporting = [known.name for known in BUILT_IN if precision in known.precisions]
        raise ConfigError(
            f"a {suffix} file is {' or '.join(target.precisions)}; for {precision} export to {' or '.join(supporting)}"
        )
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    if target.max_weight_bytes is not None and size >= target.max_weight_bytes:
        raise ExportError(
            f"the model has {size / 1e9:.1f} GB of weights; a {suffix} file can hold {target.max_weight_bytes / 1e9:.1f} GB"
        )


def _check_class_map(model: VisionModel, input: str) -> None:
    """Checks that a file of this model can output class maps."""
    maps = {
        name: branch for name, branch in model_info(model).branches.items() if get_task(branch[0]).class_map is not None
    }
    if not maps:
        raise ConfigError(
            "class maps need a segmentation branch, and this model has none; leave out class_map (--class-map)"
        )
    for name, (_, labels) in maps.items():
        if getattr(labels, "multilabel", False):
            raise ConfigError(
                f"the classes of branch '{name}' may overlap, so a pixel can have several; leave out class_map (--class-map)"
            )
    if input != "pixels":
        raise ConfigError(
            "class maps are in the images' own pixels: they need an .onnx or .xml file with input='pixels' (--input pixels), and a "
            "model with one canvas for all images"
        )


def _check_installed(target: type[ExportTarget]) -> None:
    missing = [name for name in target.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"this needs {', '.join(missing)}; install it: {install_command(target.extra)}")


def versions(target: type[ExportTarget]) -> dict[str, str]:
    """Versions of the libraries that write files of a target."""
    return {name: version(name) for name in ("torch", *target.packages)}
