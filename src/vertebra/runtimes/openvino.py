"""OpenVINO, opened the same way everywhere; without torch."""

from __future__ import annotations

import importlib.util
from collections import deque
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from vertebra.cpus import cpu_limit
from vertebra.errors import ConfigError, WeightsError, install_command
from vertebra.runtimes.onnx import first_line

_ONE_CORE = Lock()
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


class OpenVinoSession:
    """An OpenVINO or ONNX file in OpenVINO, on the CPU.

    Each thread that runs it at the same time has a request of its own, in whose memory inputs and outputs lie.

    OpenVINO takes bfloat16 by itself where the processor has it; here it computes in what is said, float32 by default.

    Args:
        path: a file ``.xml`` (its weights in ``.bin`` beside it) or ``.onnx``.
        threads: that it may use; None for all that this process may use.
        precision: "fp32", "bf16" or "fp16": what is computed in where the file does not say int8.

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
        except IndexError:  # all are at work in other threads
            request = self._compiled.create_infer_request()
        found = request.infer(dict(zip(self.inputs, arrays, strict=True)))
        results = [np.array(value) for value in found.values()]  # the next run writes into the same memory
        self._idle.append(request)
        return results


def _core() -> Any:
    """OpenVINO, one for the process. Each `openvino.Core` that compiles gives its thread another stack for signals, and takes it
    back at its end; of two that end in the order in which they began, the second leaves one that is gone, and the next signal with
    a handler ends the process."""
    with _ONE_CORE:
        return _made_core()


@cache
def _made_core() -> Any:
    import openvino

    return openvino.Core()


def _shape(value: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in value.get_partial_shape()]
