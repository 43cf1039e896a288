"""A file that holds a model, and how it is opened for prediction, here or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra.inference.exported_model import ExportedModel
from vertebra.inference.pipeline import Pipeline
from vertebra.model_info import ModelInfo
from vertebra.runtimes.base import is_exported


@dataclass(frozen=True)
class ModelSource:
    """How a model file, or an exported file, is opened.

    Attributes:
        path: the file.
        runtime: of an exported file: "onnx", "openvino" or "tensorrt"; None for what it was made for.
        precision: what is computed in; None for fp32, or for what an exported file was made in.
        compile: of a model file, whether the model is compiled first.
        threads: of the CPU; None for all cores.
        device: "cpu", "cuda" …; None for the best there is.
    """

    path: Path
    runtime: str | None = None
    precision: str | None = None
    compile: bool = False
    threads: int | None = None
    device: str | None = None

    @property
    def files(self) -> list[Path]:
        """The file, and what must lie beside it."""
        weights = self.path.with_suffix(".bin")
        return [self.path, weights] if self.path.suffix.lower() == ".xml" and weights.is_file() else [self.path]

    @property
    def gpu(self) -> bool | None:
        """Whether it runs on a GPU; None: where there is one."""
        if self.device is not None or self.runtime == "tensorrt":
            return self.runtime == "tensorrt" or str(self.device).startswith("cuda")
        return False if is_exported(self.path) else None

    @property
    def info(self) -> ModelInfo:
        """What must be known of the model to use it; the file is read for it."""
        if is_exported(self.path):
            return ExportedModel(self.path).info
        from vertebra.inference.predictor import model_info
        from vertebra.weights.model_file import load

        return model_info(load(self.path))

    def exported(self) -> ExportedModel:
        """An exported file, opened."""
        return ExportedModel(
            self.path, runtime=self.runtime, threads=self.threads, precision=self.precision, device=self.device
        )

    def predictor(self, **options: Any) -> Pipeline:
        """What runs it on images.

        Args:
            options: of any predictor; see `Pipeline`.

        Raises:
            WeightsError: the file is missing or damaged.
            ConfigError: the runtime is not installed, or the device or precision does not fit it.
        """
        if is_exported(self.path):
            return self.exported().predictor(**options)
        from vertebra.inference.predictor import Predictor
        from vertebra.weights.model_file import load

        precision: Any = self.precision or "fp32"
        return Predictor(
            load(self.path),
            device=self.device,
            precision=precision,
            keep=False,
            compile=self.compile,
            threads=self.threads,
            **options,
        )
