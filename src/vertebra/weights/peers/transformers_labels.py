"""Class names from transformers' ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def class_names(options: Mapping[str, Any], count: int) -> list[str]:
    """Class names by class id; duplicate names get their id as a suffix.

    Args:
        options: the ``config.json``; its ``id2label`` may be absent.
        count: how many classes there are.
    """
    names = {int(index): str(name) for index, name in (options.get("id2label") or {}).items()}
    listed = [names.get(index, f"class {index}") for index in range(count)]
    return [name if listed.count(name) == 1 else f"{name} {index}" for index, name in enumerate(listed)]
