"""Any model that Vertebra wrote, for prediction or more."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(source: str | Path, device: Any = "cpu") -> Any:
    """A model from a model file, from the best weights of a run folder, or from an exported ONNX file, for which torch need not
    be installed.

    Args:
        source: a ``.safetensors`` or ``.onnx`` file that Vertebra wrote, or a run folder.
        device: where the model goes; an ONNX file runs on the CPU.

    Returns:
        A `vertebra.model.VisionModel` in evaluation mode, or an `vertebra.inference.exported.ExportedModel`; both predict alike.

    Raises:
        WeightsError: the file is missing, damaged, or not one of Vertebra's.
        RunError: the folder is not a run, or has no weights yet.
    """
    if Path(source).suffix.lower() == ".onnx":
        from vertebra.inference.exported import ExportedModel

        return ExportedModel(source)
    from vertebra.weights.model_file import load as load_file

    return load_file(source, device)
