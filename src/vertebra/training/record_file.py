"""Reads and writes ``run.json``, the record of a run in its folder. Nothing here loads torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra.errors import RunError, shortened
from vertebra.files import replacing

RECORD = "run.json"


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a run; None for a run that has none.

    Raises:
        RunError: it is damaged.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({shortened(str(error))}); delete it, it is not needed") from None
    if (
        not isinstance(record, dict)
        or not {"folder": str, "starts": list, "data": dict}.items()
        <= {key: type(value) for key, value in record.items()}.items()
        or not all(isinstance(start, dict) and isinstance(start.get("date"), str) for start in record["starts"])
    ):
        raise RunError(f"{path}: not the record of a run; delete it, it is not needed")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a run, atomically."""
    with replacing(folder / RECORD, synced=True) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
