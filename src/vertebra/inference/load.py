"""Any model that Vertebra wrote, for prediction or more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vertebra.errors import ConfigError
from vertebra.runtimes import is_exported


def load(source: str | Path, device: Any = "cpu", *, verify: bool = True) -> Any:
    """A model from a model file, from the best weights of a run folder, or from an exported file, for which torch need not be
    installed.

    Args:
        source: a file that Vertebra wrote (``.safetensors``, ``.onnx``, or OpenVINO's ``.xml``), or a run folder.
        device: where the model goes; for an exported file see `vertebra.inference.exported_model.ExportedModel`.
        verify: compares a model file with the checksums in its header; false reads one that is known to be damaged. The check of
            an exported file cannot be left out.

    Returns:
        A `vertebra.model.VisionModel` in evaluation mode, or an
        `vertebra.inference.exported_model.ExportedModel`; both predict alike.

    Raises:
        ConfigError: ``verify`` is false, and the file is an exported one.
        WeightsError: the file is missing, damaged, or not one of Vertebra's.
        RunError: the folder is not a run, or has no weights yet.
    """
    if is_exported(source):
        if not verify:
            raise ConfigError(f"{source}: an exported file is always verified; leave out verify=False")
        from vertebra.inference.exported_model import ExportedModel

        return ExportedModel(source, device=str(device))
    from vertebra.weights.model_file import load as load_file

    return load_file(source, device, verify=verify)
