"""Prediction with an exported file; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.errors import ConfigError
from vertebra.inference.metadata import from_json
from vertebra.inference.pipeline import Pipeline
from vertebra.inference.results import Result
from vertebra.inference.sessions import open_file


class ExportedModel:
    """An exported file, opened; it predicts as the model does that it was made from.

    Args:
        path: the file.
        runtime: "onnx", "openvino" or "tensorrt"; None for what the file was made for.
        threads: of the CPU; None for all cores.
        precision: what is computed in, where the runtime chooses ("bf16" with OpenVINO); "int8" only says what the file must be.
        device: "cpu", or "cuda".

    Attributes:
        face: how images come onto its canvas, and what its branches say.
        report: of its comparison with the model.
        config: what the model was built from, or None.

    Raises:
        WeightsError: the file is missing, or is not one that Vertebra exported.
        ConfigError: the runtime is not installed, does not run this file, or has no such precision or device.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        precision: str | None = None,
        device: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.session = open_file(path, runtime=runtime, threads=threads, precision=precision, device=device)
        self.face, self.outputs, self.report, self.config = from_json(self.session.metadata, str(path))
        if precision == "int8" and self.report.get("precision") != "int8":
            raise ConfigError(f"{path} is not int8; make such a file: vertebra export RUN --precision int8")

    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Decoded outputs by branch, each branch's fields in their order.

        Args:
            images: (N, C, height, width) uint8 canvases, contiguous.
            sizes: (N, 2) int64, (height, width) of each one's valid pixels.
        """
        values = iter(self.session.run(images, sizes))
        return {branch: [next(values) for _ in fields] for branch, fields in self.outputs.items()}

    def predict(self, images: Any, **options: Any) -> list[Result]:
        """Predictions for images of any size, in their own pixels; see `ExportedPredictor`, which takes the options."""
        return ExportedPredictor(self, **options).predict(images)


class ExportedPredictor(Pipeline):
    """Runs an exported file on images.

    Args:
        model: the file.
        batch_size: images at a time.
        threshold: objects below this score are left out.
        skip_unreadable: leave unreadable files out and note them in ``skipped`` instead of raising.
    """

    def __init__(
        self, model: ExportedModel, *, batch_size: int = 8, threshold: float = 0.3, skip_unreadable: bool = False
    ) -> None:
        super().__init__(model.face, batch_size=batch_size, threshold=threshold, skip_unreadable=skip_unreadable)
        self.model = model

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """Decoded outputs of canvases; see `Pipeline.run`."""
        return self.model.run(np.ascontiguousarray(canvases.transpose(0, 3, 1, 2)), sizes)
