"""Labels of rotated boxes."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class RotatedBoxLabels(LabelSpec):
    """Classes of objects with boxes of any angle. There is no background class."""
