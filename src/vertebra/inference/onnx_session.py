"""ONNX Runtime, opened the same way everywhere; without torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from vertebra.errors import ConfigError, WeightsError


def open_session(path: Path, threads: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        threads: that it may use; None for all cores.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        WeightsError: the file is missing or is no ONNX file.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ConfigError("running ONNX files needs ONNX Runtime; install it: pip install onnxruntime")
    import onnxruntime

    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each release of ONNX Runtime raises its own types
        raise WeightsError(f"{path}: ONNX Runtime cannot open it ({str(error).strip().splitlines()[0]})") from error
