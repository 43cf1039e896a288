"""Reads the header of a model file; a damaged file fails fast, in little memory, with a one-line error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vertebra.checkpoints import check_length, one_line
from vertebra.errors import WeightsError
from vertebra.weights.checksums import header_is_sound

FORMAT_VERSION = 2
KEY = "vertebra"
CALIBRATION = ("temperatures", "thresholds", "promises")  # by branch; see `vertebra.weights.stored_calibration`
ENTRIES: Mapping[str, bool] = {"model": True, "preprocess": True, "origin": False, "provenance": False} | dict.fromkeys(
    CALIBRATION, False
)
"""The mappings of a header, and whether each is required."""


def read_header(path: Path, *, verify: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Header of a model file, and the names of its tensors.

    Args:
        verify: checks the header against its checksum.

    Raises:
        WeightsError: the file is truncated or damaged, is not a model file, or was written by another version.
    """
    try:
        refuse_checkpoint(path)
        check_length(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: truncated or not a safetensors file ({one_line(error)}); copy or download it again"
        ) from None
    if KEY not in metadata:
        raise WeightsError(
            f"{path}: a safetensors file, but not a Vertebra model (no '{KEY}' in its header); "
            f"give weights of a backbone with --pretrained {path.name} (in a config: pretrained: {path.name})"
        )
    header = _parse(metadata[KEY], path)
    if verify and not header_is_sound(header, names):
        raise WeightsError(f"{path}: damaged: its header is not what was saved (its checksum differs); copy it again")
    return header, names


def refuse_checkpoint(path: Path) -> None:
    """Refuses a trainer's checkpoint, which is not a model file, with a message about where it is accepted.

    Raises:
        WeightsError: the file is a checkpoint.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PK\x03\x04" or start[:2] in (b"\x80\x02", b"\x80\x04", b"\x80\x05"):
        raise WeightsError(
            f"{path}: a checkpoint of torch.save, not a Vertebra model; for a run, give its folder; give another trainer's file "
            f"as weights of a backbone (--pretrained {path.name}; in a config pretrained: {path.name}) or to vertebra import"
        )


def _parse(text: str, path: Path) -> dict[str, Any]:
    damaged = WeightsError(f"{path}: the '{KEY}' entry of its header is damaged; copy or download it again")
    try:
        header: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(header, dict) or "format_version" not in header:
        raise damaged
    version = header["format_version"]
    if isinstance(version, int) and version < FORMAT_VERSION:
        raise WeightsError(
            f"{path}: written by an older Vertebra (format {version}), but this one reads format {FORMAT_VERSION}; train or "
            "import the model again"
        )
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{path}: has format {str(version)[:20]}, but this Vertebra reads format {FORMAT_VERSION}; upgrade vertebra"
        )
    for name, needed in ENTRIES.items():
        if name not in header and needed:
            raise WeightsError(f"{path}: its header has no '{name}', so it is not a complete model file")
        if not isinstance(header.get(name, {}), dict):
            raise damaged
    return header
