"""The check that an exported file says the same as the model."""

from __future__ import annotations

from pathlib import Path

from vertebra.export.export_model import export_model
from vertebra.model import VisionModel


def check_export(model: VisionModel, folder: Path) -> Path:
    """Exports a model with the canvas fixed; the exporter compares the file with the model, in ONNX Runtime.

    Args:
        folder: where the file goes.

    Returns:
        The file.

    Raises:
        ExportError: the file says something else.
    """
    path = folder / "model.onnx"
    export_model(model, path, input="canvas", canvas="fixed")
    return path
