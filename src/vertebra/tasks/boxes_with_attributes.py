"""Boxes as an array whose rows have attributes (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class BoxesWithAttributes(np.ndarray):
    """Boxes (M, 4), or one of them (4,), which have their attributes: ``boxes[0].attributes["color"].value``.

    In all else it is an ordinary array. A number, a slice, a mask or numbers as an index keep the attributes; the result of any
    other operation has none, and of a computation is an ordinary array or number.

    Attributes:
        attributes: by name, an `vertebra.tasks.box_attributes.types.AttributePrediction` with a row for each box.
    """

    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, boxes: np.ndarray, attributes: Mapping[str, Any]) -> BoxesWithAttributes:
        """Boxes (M, 4) with their attributes; the numbers are not copied."""
        view = boxes.view(cls)
        view.attributes = attributes
        return view

    def __array_finalize__(self, source: Any) -> None:
        self.attributes = {}

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """The result of an operation: an array or a number without attributes; these boxes where it is written into them."""
        if array is self:
            return self
        plain = np.asarray(array)
        return plain if plain.ndim else plain[()]

    def __getitem__(self, index: Any) -> Any:
        """The boxes at an index; see `vertebra.tasks.prediction.Prediction`."""
        taken = super().__getitem__(index)
        rows = isinstance(index, int | np.integer | slice | list | np.ndarray) and getattr(index, "ndim", 1) < 2
        if self.ndim == 2 and rows:
            taken.attributes = {name: each[index] for name, each in self.attributes.items()}
        return taken
