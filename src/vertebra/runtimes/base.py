"""Exported files in the runtime that runs them; without torch, but for files that torch made."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from vertebra.errors import ConfigError, UnknownName

Runtime = Literal["torch", "onnx", "openvino", "tensorrt", "executorch"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)
SUFFIXES = {
    ".onnx": ("onnx", "openvino", "tensorrt"),
    ".xml": ("openvino",),
    ".pt2": ("torch",),
    ".pte": ("executorch",),
}


class Session(Protocol):
    """An exported file, opened in its runtime. Any number of threads may run it at the same time.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is no number.
    """

    inputs: dict[str, list[int | None]]
    outputs: dict[str, list[int | None]]

    def run(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """All outputs in their order.

        Args:
            arrays: the inputs in their order, contiguous: canvases ``images`` (N, C, height, width) uint8 and ``sizes`` (N, 2)
                int64, (height, width) of each one's valid pixels; or ``pixels`` (N, H, W, C) uint8, images of one size.
        """


def is_exported(path: str | Path) -> bool:
    """Whether a file is, by its name, one that a runtime runs."""
    return Path(path).suffix.lower() in SUFFIXES


def computed_in(path: str | Path, runtime: str | None = None, precision: str | None = None) -> str:
    """What `open_file` computes in, and in which runtime: one text for all options that mean the same.

    Args:
        path, runtime, precision: as of `open_file`.
    """
    chosen = runtime or SUFFIXES[Path(path).suffix.lower()][0]
    told = chosen == "openvino" and precision not in (None, "fp32", "int8")  # others compute as the file says
    return f"{precision if told else 'as exported'} by {chosen}"


def open_file(
    path: str | Path,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    device: str | None = None,
) -> Session:
    """Opens an exported file, which is trusted: `vertebra.inference.exported_model.ExportedModel` checks it before.

    Args:
        path: a file that `is_exported`.
        runtime: what runs it; None for what its kind is made for.
        threads: of the CPU; None for all cores.
        precision: what is computed in, where the runtime chooses: "bf16" with OpenVINO; None as the file is.
        device: "cpu", or "cuda" with ONNX Runtime for GPUs; None for the CPU.

    Raises:
        ConfigError: the runtime is not installed, does not run such a file, or has no such precision or device.
        WeightsError: the file is missing or cannot be read.
    """
    path = Path(path)
    if runtime is not None and runtime not in RUNTIMES:
        raise UnknownName("runtime of a file", runtime, RUNTIMES)
    able = SUFFIXES[path.suffix.lower()]
    chosen = able[0] if runtime is None else runtime
    if chosen not in able:
        suffix = next(suffix for suffix, known in SUFFIXES.items() if chosen in known)
        raise ConfigError(f"{path.name} does not run in {chosen}, which takes a file {suffix}; export one for it")
    if chosen == "torch":
        from vertebra.runtimes.torch_export import TorchSession

        if device not in (None, "cpu") or precision not in (None, "fp32"):
            raise ConfigError("a .pt2 file runs on the CPU in fp32 here; leave out --device and --precision")
        return TorchSession(path, threads)
    if chosen == "executorch":
        from vertebra.runtimes.executorch import ExecuTorchSession

        if device not in (None, "cpu") or precision not in (None, "fp32") or threads is not None:
            raise ConfigError(
                "a .pte file runs on the CPU in fp32, in as many threads as ExecuTorch takes; leave out --device, --precision "
                "and --threads"
            )
        return ExecuTorchSession(path)
    if chosen == "openvino":
        from vertebra.runtimes.openvino import HINTS, OpenVinoSession

        if device not in (None, "cpu"):
            raise ConfigError("with OpenVINO a file runs on the CPU here; leave out --device")
        hint = "fp32" if precision in (None, "int8") else precision
        if hint not in HINTS:
            raise UnknownName("precision", str(precision), [*HINTS, "int8"])
        return OpenVinoSession(path, threads, hint)
    from vertebra.runtimes.onnx import PROVIDERS, OnnxSession

    if precision not in (None, "int8") and chosen == "onnx":
        raise ConfigError(
            f"an ONNX file computes in the precision that it was exported in; leave out --precision {precision}, "
            "or take --runtime openvino"
        )
    provider = "tensorrt" if chosen == "tensorrt" else device or "cpu"
    if provider not in PROVIDERS:
        raise UnknownName("device of an exported file", provider, ["cpu", "cuda"])
    return OnnxSession(path, threads, provider)
