"""The check that an exported file has the same outputs as the model."""

from __future__ import annotations

from pathlib import Path

from vertebra.export.export_model import export_model
from vertebra.model import VisionModel


def check_export(model: VisionModel, folder: Path) -> Path:
    """Exports a model with a fixed canvas; the exporter compares the file with the model, in ONNX Runtime.

    Args:
        folder: the folder of the file.

    Returns:
        The file.

    Raises:
        ExportError: the outputs of the file differ.
    """
    path = folder / "model.onnx"
    export_model(model, path, input="canvas", canvas="fixed")
    return path
