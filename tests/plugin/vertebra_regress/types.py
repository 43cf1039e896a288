"""Labels, annotation and prediction; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vertebra.tasks.base import LabelSpec
from vertebra.tasks.picture import ImageLike, open_picture


@dataclass(frozen=True)
class RegressLabels(LabelSpec):
    """The names of the numbers, as ``classes``."""


@dataclass(frozen=True, eq=False)
class RegressAnnotation:
    """Attributes:
    values: (K,) float32.
    """

    values: np.ndarray


@dataclass(frozen=True, eq=False)
class RegressPrediction:
    """Attributes:
    values: (K,) float32.
    labels: the names of the numbers.
    image: the image that was predicted on.
    """

    values: np.ndarray
    labels: RegressLabels
    image: ImageLike | None = None

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image with its numbers as text."""
        picture = open_picture(self.image if image is None else image)
        text = ", ".join(f"{name} {value:.2f}" for name, value in self.to_dict()["values"].items())
        ImageDraw.Draw(picture).text((2, 2), text, fill="red")
        return picture

    def with_threshold(self, threshold: float) -> RegressPrediction:
        """The same prediction: it has no objects."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"task": "regress", "values": dict(zip(self.labels.classes, self.values.tolist(), strict=True))}
