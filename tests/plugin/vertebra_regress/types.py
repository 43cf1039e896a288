"""Labels, annotation and prediction; without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageDraw

from vertebra.errors import MissingFieldError
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.picture import ImageLike
from vertebra.tasks.prediction import Prediction


@dataclass(frozen=True)
class RegressLabels(LabelSpec):
    """The names of the numbers, as ``classes``."""


@dataclass(frozen=True, eq=False)
class RegressAnnotation:
    """Attributes:
    values: (K,) float32.
    """

    values: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class RegressPrediction(Prediction):
    """The numbers of an image; its objects are the numbers.

    Attributes:
        class_ids: (K,) int64.
        values: (K,) float32.
        spec: the names of the numbers.
        image: the image that was predicted on.
    """

    task: ClassVar[str] = "regress"
    per_object: ClassVar[tuple[str, ...]] = ("class_ids", "values")

    class_ids: np.ndarray
    values: np.ndarray
    spec: RegressLabels
    image: ImageLike | None = None

    def _noun(self, count: int) -> str:
        return "number" if count == 1 else "numbers"

    def _columns(self) -> dict[str, list[Any]]:
        return {"value": self.values.tolist()}

    def _ranked(self) -> Iterator[tuple[str, str]]:
        return zip(self.class_names, [f"{value:.2f}" for value in self.values.tolist()], strict=True)

    def _draw(self, picture: Image.Image) -> Image.Image:
        ImageDraw.Draw(picture).text((2, 2), repr(self), fill="red")
        return picture

    def _to_supervision(self, supervision: Any) -> Any:
        raise MissingFieldError("supervision has nothing for numbers of an image; use to_dict()")
