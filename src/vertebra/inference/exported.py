"""Prediction with an exported ONNX file; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.inference.metadata import KEY, from_json
from vertebra.inference.onnx_session import open_session
from vertebra.inference.pipeline import Pipeline
from vertebra.inference.results import Result


class ExportedModel:
    """An exported file, opened; it predicts as the model does that it was made from.

    Args:
        path: the file.

    Attributes:
        face: how images come onto its canvas, and what its branches say.
        report: of its comparison with the model.

    Raises:
        WeightsError: the file is missing, or is not one that Vertebra exported.
        ConfigError: ONNX Runtime is not installed.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        self.session = open_session(self.path, threads)
        text = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        self.face, self.outputs, self.report = from_json(text, str(path))

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
        given = {"images": np.ascontiguousarray(canvases.transpose(0, 3, 1, 2)), "sizes": sizes}
        outputs = self.model.outputs
        names = [f"{branch}/{field}" for branch, fields in outputs.items() for field in fields]
        found = dict(zip(names, self.model.session.run(names, given), strict=True))
        return {branch: [found[f"{branch}/{field}"] for field in fields] for branch, fields in outputs.items()}
