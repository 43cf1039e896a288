"""A model file and the options to open it for prediction, here or on another machine."""

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
    """A model file, or an exported file, and the options to open it.

    Attributes:
        path: the file.
        runtime: of an exported file: "onnx", "openvino", "tensorrt" …; None for the format's own runtime.
        precision: of the computation; None for fp32, or for the precision of an exported file.
        compile: whether the model is compiled first; only for a model file.
        threads: of the CPU; None for all cores.
        device: "cpu", "cuda" …; None for the best available.
    """

    path: Path
    runtime: str | None = None
    precision: str | None = None
    compile: bool = False
    threads: int | None = None
    device: str | None = None

    @property
    def files(self) -> list[Path]:
        """The file, and the files that belong to it."""
        known = find_format(self.path)
        companions = [] if known is None else [file for file in known.files(self.path) if file != self.path]
        return [self.path, *(file for file in companions if file.is_file())]

    @property
    def gpu(self) -> bool | None:
        """Whether it runs on a GPU; None: if one is available."""
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
        """The model's preprocessing, branches and classes; reads the file."""
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
        """A predictor for this source.

        Args:
            options: of the predictor; see `Pipeline`.

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
            inplace=True,
            compile=self.compile,
            threads=self.threads,
            **options,
        )
