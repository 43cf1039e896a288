"""The target ``onnx``: an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vertebra import __version__
from vertebra.export.file_metadata import PRODUCER, input_shape, output_shape
from vertebra.export.targets.via_onnx import ViaOnnx
from vertebra.runtimes.model_files.checksum import append_checksum
from vertebra.runtimes.model_files.metadata import KEY
from vertebra.runtimes.onnx import ONNX, OnnxRuntime


class OnnxTarget(ViaOnnx):
    """An ONNX file, for ONNX Runtime, OpenVINO and TensorRT."""

    name = "onnx"
    format = ONNX
    runtime = OnnxRuntime()
    packages = ("onnxscript", "onnxruntime")
    halves_graph = True

    def convert(self, file: Path, stem: Path, precision: str) -> Path:
        """The file itself."""
        return file

    def write_metadata(self, path: Path, metadata: str) -> None:
        """See `ExportTarget.write_metadata`."""
        describe_onnx(path, metadata)


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
    del proto.graph.value_info[:]  # they use the old names of dimensions
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
