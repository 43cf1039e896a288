"""The prediction of the box_attributes task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.errors import ConfigError
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.prediction import Prediction, coco_boxes
from vertebra.tasks.thresholds import CLASS_THRESHOLD, ScoreThreshold

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class AttributePrediction(Prediction):
    """The value of one attribute of each box of another branch, in the order of the boxes: ``boxes[0].attributes["color"].value``.

    Attributes:
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        box_scores: (M,) float32 in 0..1, of the boxes.
        box_class_ids: (M,) int64, the classes of the objects, ids of ``spec.box_classes``.
        probabilities: (M, K) float32 of the values.
        spec: the values.
        image: the predicted image, for `draw`; None where it is unknown.
    """

    task: ClassVar[str] = "box_attributes"
    attached: ClassVar[bool] = True
    per_object: ClassVar[tuple[str, ...]] = ("boxes", "box_scores", "box_class_ids", "probabilities")

    boxes: np.ndarray
    box_scores: np.ndarray
    box_class_ids: np.ndarray
    probabilities: np.ndarray
    spec: AttributeLabels
    image: ImageLike | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes)
        expected = ((count, 4), (count,), (count,), (count, self.spec.class_count))
        shapes = tuple(getattr(self, name).shape for name in self.per_object)
        if shapes != expected:
            raise ValueError(f"boxes, their scores and classes, and probabilities must be {expected}, got {shapes}")

    @cached_property
    def class_ids(self) -> np.ndarray:
        """(M,) int64, the most probable value of each box."""
        best: np.ndarray = self.probabilities.argmax(axis=1).astype(np.int64)
        return best

    @cached_property
    def scores(self) -> np.ndarray:
        """(M,) float32, the probability of the most probable value."""
        best: np.ndarray = np.take_along_axis(self.probabilities, self.class_ids[:, None], axis=1)[:, 0]
        return best

    @property
    def values(self) -> list[str] | list[tuple[str, ...]]:
        """The value of each box; where a box may have several, all of at least 0.5."""
        if not self.spec.multilabel:
            return self.class_names
        names = self.spec.classes
        return [tuple(names[k] for k in np.flatnonzero(row)) for row in self.probabilities >= CLASS_THRESHOLD]

    @property
    def value(self) -> str | tuple[str, ...]:
        """The value of the only box.

        Raises:
            ConfigError: there are several boxes, or none.
        """
        self._check_one("value")
        return self.values[0]

    @property
    def score(self) -> float:
        """The probability of the value of the only box; where a box may have several, of the most probable one.

        Raises:
            ConfigError: there are several boxes, or none.
        """
        self._check_one("score")
        return float(self.scores[0])

    def apply_threshold(self, threshold: ScoreThreshold) -> Self:
        """The boxes whose own score reaches a predictor's threshold, as in the branch with the boxes."""
        limits = threshold[self.box_class_ids] if isinstance(threshold, np.ndarray) else threshold
        return self._take(np.flatnonzero(self.box_scores >= limits))

    def summaries(self) -> list[dict[str, Any]]:
        """JSON-ready, for each box: its ``value`` with the ``score``; where it may have several, ``values`` with their scores."""
        if not self.spec.multilabel:
            pairs = zip(self.class_names, self.scores.tolist(), strict=True)
            return [{"value": value, "score": score} for value, score in pairs]
        ids = {name: number for number, name in enumerate(self.spec.classes)}
        return [
            {"values": {name: float(row[ids[name]]) for name in names}}
            for names, row in zip(self.values, self.probabilities, strict=True)
        ]

    def captions(self) -> list[str]:
        """For each box its value with the probability, for pictures."""
        if self.spec.multilabel:
            return [", ".join(names) or "-" for names in self.values]
        return [f"{value} {score:.2f}" for value, score in zip(self.class_names, self.scores.tolist(), strict=True)]

    def _check_one(self, name: str) -> None:
        if len(self.boxes) != 1:
            raise ConfigError(f"'{name}' is of one box, but here are {len(self.boxes)}: use '{name}s'")

    def _noun(self, count: int) -> str:
        return "box" if count == 1 else "boxes"

    def _columns(self) -> dict[str, list[Any]]:
        """``probabilities`` of all values, by name."""
        rows = [dict(zip(self.spec.classes, row, strict=True)) for row in self.probabilities.tolist()]
        return {"score": self.scores.tolist(), "box": self.boxes.tolist(), "probabilities": rows}

    def _coco_columns(self) -> dict[str, list[Any]]:
        return {"bbox": coco_boxes(self.boxes), "score": self.scores.tolist()}

    def _draw(self, picture: Image.Image) -> Image.Image:
        """The boxes with their values."""
        texts = [", ".join(value) or "-" if isinstance(value, tuple) else value for value in self.values]
        names = list(dict.fromkeys(texts)) or ["-"]
        ids = np.array([names.index(text) for text in texts], dtype=np.int64)
        return DetectPrediction(self.boxes, self.scores, ids, DetectLabels(tuple(names)), draw_threshold=0.0).draw(
            picture
        )

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"class_name": np.asarray(self.class_names, dtype=str)},
        )
