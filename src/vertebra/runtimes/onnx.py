"""The runtimes ONNX Runtime and, through it, TensorRT, and ``.onnx`` files; without torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.cpus import cpu_limit
from vertebra.errors import ConfigError, UnknownName, WeightsError, first_line
from vertebra.runtimes.base import FileFormat, Runtime, Session, SessionOptions
from vertebra.runtimes.model_files.exported_files import read_verified
from vertebra.runtimes.model_files.onnx_file import read_model

ONNX = FileFormat(
    ".onnx", "ONNX", lambda path: read_verified(path, lambda content, weights, whole: read_model(content))
)
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class OnnxSession:
    """An ONNX file in ONNX Runtime.

    Args:
        path: the file.
        threads: of the CPU that it may use; None for all that this process may use.
        provider: the execution provider: "cpu", "cuda", or "tensorrt", which first compiles the graph for minutes.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is a name or None.

    Raises:
        ConfigError: ONNX Runtime is not installed, or lacks the provider.
        WeightsError: the file is missing or is no ONNX file.
    """

    def __init__(self, path: Path, threads: int | None = None, provider: str = "cpu") -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise ConfigError("running ONNX files needs ONNX Runtime; install it: pip install onnxruntime")
        import onnxruntime

        if not path.is_file():
            raise WeightsError(f"{path}: no such file")
        if PROVIDERS[provider] not in onnxruntime.get_available_providers():
            raise ConfigError(
                f"this ONNX Runtime has no {PROVIDERS[provider]}; install one that has: pip install onnxruntime-gpu"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        threads = cpu_limit() if threads is None else threads
        if threads is not None:
            options.intra_op_num_threads = threads
        providers = list(dict.fromkeys([PROVIDERS[provider], *([PROVIDERS["cuda"]] if provider == "tensorrt" else [])]))
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # each release of ONNX Runtime raises its own types
            raise WeightsError(f"{path}: ONNX Runtime cannot open it ({first_line(error)})") from error
        self.inputs = {value.name: list(value.shape) for value in self._session.get_inputs()}
        self.outputs = {value.name: list(value.shape) for value in self._session.get_outputs()}

    def run(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """All outputs in their order; see `Session.run`."""
        outputs: list[np.ndarray] = self._session.run(None, dict(zip(self.inputs, arrays, strict=True)))
        return outputs


class OnnxRuntime(Runtime):
    """ONNX Runtime, on the CPU or an NVIDIA GPU."""

    name = "onnx"
    formats = (ONNX,)

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `vertebra.runtimes.base.Runtime.open`."""
        if options.precision not in (None, "int8"):
            raise ConfigError(
                f"an ONNX file runs in the precision that it was exported in; leave out precision {options.precision}, "
                "or use the runtime openvino"
            )
        devices = ("cpu", "cuda")
        if options.device not in (None, *devices):
            raise UnknownName("device of an exported file", str(options.device), devices)
        return OnnxSession(path, options.threads, options.device or "cpu")


class TensorRtRuntime(Runtime):
    """TensorRT through ONNX Runtime, on an NVIDIA GPU, in the precision of the file."""

    name = "tensorrt"
    formats = (ONNX,)
    gpu_only = True

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `vertebra.runtimes.base.Runtime.open`."""
        return OnnxSession(path, options.threads, "tensorrt")
