"""Labels of boxes."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class DetectLabels(LabelSpec):
    """Classes of objects with boxes. There is no background class."""
