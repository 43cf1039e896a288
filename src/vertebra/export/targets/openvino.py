"""The target ``openvino``: OpenVINO's own ``.xml`` file with its weights in ``.bin``, from an ONNX file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vertebra.errors import ConfigError, ExportError, first_line, install_command
from vertebra.export.targets.via_onnx import ViaOnnx
from vertebra.runtimes.model_files.checksum import append_checksum
from vertebra.runtimes.model_files.metadata import KEY
from vertebra.runtimes.openvino import OPENVINO, OpenVinoRuntime


class OpenVinoTarget(ViaOnnx):
    """An OpenVINO file. With fp16 the weights are stored in half precision; the precision of the computation is chosen when the
    file is opened."""

    name = "openvino"
    format = OPENVINO
    runtime = OpenVinoRuntime()
    packages = ("onnxscript", "onnxruntime", "openvino")
    extra = "export,openvino"
    halves_graph = False

    def convert(self, file: Path, stem: Path, precision: str) -> Path:
        """See `ViaOnnx.convert`."""
        path = stem.with_suffix(self.format.suffix)
        to_openvino(file, path, float16=precision == "fp16")
        return path

    def write_metadata(self, path: Path, metadata: str) -> None:
        """See `ExportTarget.write_metadata`."""
        describe_openvino(path, metadata)


def to_openvino(source: Path, target: Path, *, float16: bool) -> None:
    """Writes ``target`` (.xml) and its weights beside it (.bin).

    Args:
        source: an ONNX file.
        target: the file to write.
        float16: whether weights are stored in half precision; the precision of the computation is an option of the runtime.

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
    """Writes the metadata and the checksum into a file of `to_openvino`."""
    import openvino

    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # the weights' file is written anew while it is read
    model = core.read_model(path)
    model.set_rt_info(metadata, [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)
    append_checksum(path)
