"""Standard JSON: numbers that are not finite are written as null."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def finite(value: Any, lost: list[str] | None = None, name: str = "") -> Any:
    """A value with None instead of each number that is not finite.

    Args:
        value: nested numbers, texts, sequences and mappings.
        lost: the names of those numbers are appended to it, as ``key/key``.
        name: the name of the value.
    """
    if isinstance(value, float) and not math.isfinite(value):
        if lost is not None:
            lost.append(name)
        return None
    if isinstance(value, Mapping):
        return {key: finite(inner, lost, f"{name}/{key}" if name else str(key)) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [finite(inner, lost, f"{name}/{row}" if name else str(row)) for row, inner in enumerate(value)]
    return value


def to_json(
    value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None
) -> tuple[str, list[str]]:
    """The text, and the names of the numbers that are written as null."""
    lost: list[str] = []
    try:
        return json.dumps(value, indent=indent, default=default, allow_nan=False), lost
    except ValueError:  # a number that is not finite
        return json.dumps(finite(value, lost), indent=indent, default=default, allow_nan=False), lost
