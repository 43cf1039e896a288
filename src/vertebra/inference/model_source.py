"""A file that holds a model, and how it is opened for prediction, here or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vertebra.inference.exported_model import ExportedModel
from vertebra.inference.pipeline import Pipeline
from vertebra.model_info import ModelInfo
from vertebra.runtimes import find_format, find_runtime, is_exported


@dataclass(frozen=True)
class ModelSource:
    """How a model file, or an exported file, is opened.

    Attributes:
        path: the file.
        runtime: of an exported file: "onnx", "openvino", "tensorrt" …; None for what it was made for.
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
        known = find_format(self.path)
        beside = [] if known is None else [file for file in known.files(self.path) if file != self.path]
        return [self.path, *(file for file in beside if file.is_file())]

    @property
    def gpu(self) -> bool | None:
        """Whether it runs on a GPU; None: where there is one."""
        exported = is_exported(self.path)
        if exported and self.runtime is not None and find_runtime(self.path, self.runtime).gpu_only:
            return True
        if self.device is not None:
            return self.device.startswith("cuda")
        return False if exported else None

    @property
    def takes_threads(self) -> bool:
        """Whether a number of CPU threads can be set."""
        return not is_exported(self.path) or find_runtime(self.path, self.runtime).takes_threads

    @property
    def info(self) -> ModelInfo:
        """What must be known of the model to use it; the file is read for it."""
        if is_exported(self.path):
            return ExportedModel(self.path).info
        from vertebra.model_info import model_info
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
