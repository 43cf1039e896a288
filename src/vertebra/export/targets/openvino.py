"""OpenVINO's own file, from an ONNX file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vertebra.errors import ConfigError, ExportError, install_command
from vertebra.runtimes.model_files.checksum import append_checksum
from vertebra.runtimes.model_files.metadata import KEY
from vertebra.runtimes.onnx import first_line


def to_openvino(source: Path, target: Path, *, float16: bool) -> None:
    """Writes ``target`` (.xml) and its weights beside it (.bin).

    Args:
        source: an ONNX file.
        target: the file to write.
        float16: whether weights are stored in half precision; what is computed in, the runtime is told.

    Raises:
        ConfigError: OpenVINO is not installed.
        ExportError: OpenVINO cannot read the graph.
    """
    if importlib.util.find_spec("openvino") is None:
        raise ConfigError(f"this needs OpenVINO; install it: {install_command('openvino')}")
    import openvino

    try:
        model = openvino.Core().read_model(source)
    except Exception as error:  # OpenVINO raises RuntimeError for everything
        raise ExportError(f"OpenVINO cannot read this graph: {first_line(error)}") from error
    openvino.save_model(model, target, compress_to_fp16=float16)


def describe_openvino(path: Path, metadata: str) -> None:
    """Writes into a file of `to_openvino` what it says of itself, and its checksum."""
    import openvino

    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # the weights' file is written anew while it is read
    model = core.read_model(path)
    model.set_rt_info(metadata, [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)
    append_checksum(path)
