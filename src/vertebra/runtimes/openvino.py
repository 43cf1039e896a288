"""The OpenVINO runtime and its ``.xml`` files; without torch."""

from __future__ import annotations

import importlib.util
from collections import deque
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from vertebra.cpus import cpu_limit
from vertebra.errors import ConfigError, UnknownName, WeightsError, first_line, install_command
from vertebra.runtimes.base import FileFormat, Runtime, Session, SessionOptions
from vertebra.runtimes.model_files.exported_files import read_verified
from vertebra.runtimes.model_files.openvino_file import read_graph
from vertebra.runtimes.onnx import ONNX

_ONE_CORE = Lock()
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
OPENVINO = FileFormat(
    ".xml",
    "OpenVINO",
    lambda path: read_verified(path, lambda content, weights, whole: read_graph(content, weights)),
    weights_suffix=".bin",
)


class OpenVinoSession:
    """An OpenVINO or ONNX file in OpenVINO, on the CPU.

    Concurrent threads use separate inference requests, each with its own input and output memory.

    OpenVINO's default is bfloat16 on processors that support it; here it runs in ``precision``.

    Args:
        path: an ``.xml`` file (with its weights in ``.bin`` beside it) or an ``.onnx`` file.
        threads: of the CPU; None for all that this process may use.
        precision: "fp32", "bf16" or "fp16", of the computation where the file is not int8.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is None.

    Raises:
        ConfigError: OpenVINO is not installed, or there is no such precision.
        WeightsError: the file is missing or OpenVINO cannot read it.
    """

    def __init__(self, path: Path, threads: int | None = None, precision: str = "fp32") -> None:
        if importlib.util.find_spec("openvino") is None:
            raise ConfigError(f"this needs OpenVINO; install it: {install_command('openvino')}")
        if not path.is_file():
            raise WeightsError(f"{path}: no such file")
        if path.suffix == ".xml" and not path.with_suffix(".bin").is_file():
            raise WeightsError(f"{path}: its weights, {path.with_suffix('.bin').name}, are missing; copy both files")
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        threads = cpu_limit() if threads is None else threads
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            core = _core()
            model = core.read_model(path)
            self._compiled = core.compile_model(model, "CPU", options)
            self._idle = deque([self._compiled.create_infer_request()])
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            raise WeightsError(f"{path}: OpenVINO cannot open it ({first_line(error)})") from error
        self.inputs = {value.get_any_name(): _shape(value) for value in model.inputs}
        self.outputs = {value.get_any_name(): _shape(value) for value in model.outputs}

    def run(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """All outputs in their order; see `Session.run`."""
        try:
            request = self._idle.pop()
        except IndexError:  # all are in use by other threads
            request = self._compiled.create_infer_request()
        outputs = request.infer(dict(zip(self.inputs, arrays, strict=True)))
        results = [np.array(value) for value in outputs.values()]  # the next run writes into the same memory
        self._idle.append(request)
        return results


class OpenVinoRuntime(Runtime):
    """OpenVINO on the CPU, in the requested precision."""

    name = "openvino"
    formats = (OPENVINO, ONNX)
    precisions = tuple(HINTS)

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `vertebra.runtimes.base.Runtime.open`."""
        if options.device not in (None, "cpu"):
            raise ConfigError("OpenVINO files run on the CPU only; leave out the device")
        precision = "fp32" if options.precision in (None, "int8") else str(options.precision)
        if precision not in HINTS:
            raise UnknownName("precision", precision, [*HINTS, "int8"])
        return OpenVinoSession(path, options.threads, precision)


def _core() -> Any:
    """OpenVINO's core, one for the process.

    Each `openvino.Core` that compiles sets another signal stack for its thread, and restores the previous one when it is freed. If
    two are freed in the order of their creation, the second restores a freed stack, and the next handled signal kills the process.
    """
    with _ONE_CORE:
        return _new_core()


@cache
def _new_core() -> Any:
    import openvino

    return openvino.Core()


def _shape(value: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in value.get_partial_shape()]
