"""The ways in which our model runs: PyTorch as a predictor has it, and the same graph in ONNX Runtime and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.pairs import Answers
from benchmarks.report import has_bf16
from benchmarks.synthetic import canvases
from vertebra.export.passes.int8 import to_int8
from vertebra.export.targets.via_onnx import drop_raw_outputs, write_onnx
from vertebra.export.torch_export import output_names
from vertebra.inference.predictor import Predictor
from vertebra.model import VisionModel
from vertebra.optimize.half_precision import Precision
from vertebra.runtimes import open_file
from vertebra.runtimes.base import Session

RUNTIMES = ("torch", "onnx", "openvino")
COMPILED = "compiled"  # PyTorch once more, with torch.compile
CALIBRATED = 8  # images that int8 sees; enough for its speed, too few for its accuracy
Run = Callable[[Tensor], Answers]
"""From canvases (N, 3, H, W) uint8 to decoded outputs by branch."""


def ways(
    model: VisionModel, runtimes: Sequence[str], folder: Path, threads: int | None, device: str = "cpu"
) -> dict[str, Run]:
    """Every way that this machine has, by a name of runtime and precision: "torch fp32", "onnx int8" ….

    Args:
        model: whose config has the canvas.
        runtimes: some of `RUNTIMES`, and `COMPILED`.
        folder: for the exported files.
        threads: of the CPU.
        device: where PyTorch runs.
    """
    found: dict[str, Run] = {}
    precisions = {"fp32": True, "bf16": has_bf16(device), "fp16": device == "cuda"}
    for precision in [name for name, able in precisions.items() if able]:
        if "torch" in runtimes:
            found[f"torch {precision}"] = in_torch(model, precision, device)
        if COMPILED in runtimes:
            found[f"torch {precision} compiled"] = in_torch(model, precision, device, compile=True)
    if set(runtimes) - {"torch", COMPILED}:
        names = output_names(model)
        exact, small = export(model, names, folder)
        for runtime in [name for name in ("onnx", "openvino") if name in runtimes]:
            found[f"{runtime} fp32"] = in_session(open_file(exact, runtime=runtime, threads=threads), names)
            if runtime == "openvino" and has_bf16():
                session = open_file(exact, runtime=runtime, threads=threads, precision="bf16")
                found["openvino bf16"] = in_session(session, names)
            found[f"{runtime} int8"] = in_session(open_file(small, runtime=runtime, threads=threads), names)
    return found


def in_torch(model: VisionModel, precision: Precision, device: str = "cpu", *, compile: bool = False) -> Run:
    """As `vertebra.inference.predictor.Predictor` runs it; the answers are on the CPU."""
    predictor = Predictor(model, device=device, precision=precision, compile=compile)
    return lambda images: predictor.compute(images, torch.from_numpy(sizes_of(images)))


def export(model: VisionModel, names: list[str], folder: Path) -> tuple[Path, Path]:
    """The graph that `vertebra.export_model` writes for canvases of the model's own size, in fp32 and in int8.

    Its gate is left out, which takes four times as long: the answers are compared with the peer's here.

    Args:
        model: what is exported.
        names: of its decoded outputs.
        folder: for the files.
    """
    exact, small = folder / "fp32.onnx", folder / "int8.onnx"
    write_onnx(model, exact, names, free=False)
    drop_raw_outputs(exact)
    images = canvases(CALIBRATED, model.resize_spec.size).numpy()
    to_int8(exact, small, [(image[None], sizes_of(image[None])) for image in images])
    return exact, small


def in_session(session: Session, names: Sequence[str]) -> Run:
    """An exported file.

    Args:
        session: the file, opened.
        names: ``branch/field`` of its outputs.
    """

    def run(images: Tensor) -> Answers:
        given = images.numpy()
        answers: dict[str, Any] = {}
        for name, value in zip(names, session.run(given, sizes_of(given)), strict=True):
            branch, _, field = name.rpartition("/")
            setattr(answers.setdefault(branch, SimpleNamespace()), field, value)
        return answers

    return run


def sizes_of(images: np.ndarray | Tensor) -> np.ndarray:
    """(N, 2) int64 for canvases that are full."""
    return np.array([images.shape[-2:]] * len(images), dtype=np.int64)
