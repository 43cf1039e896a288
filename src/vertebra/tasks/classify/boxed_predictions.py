"""Predictions of a classifier for each box of an image (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.prediction import Prediction, coco_boxes

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class BoxedPredictions(Prediction):
    """The classes of each box of an image. Its objects are the boxes with their most probable class, in the order of the boxes.

    Attributes:
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        predictions: one for each box, with all classes.
        spec: the classes.
        image: the predicted image, for `draw`; None where it is unknown.
    """

    task: ClassVar[str] = "classify"

    boxes: np.ndarray
    predictions: tuple[ClassifyPrediction, ...]
    spec: ClassifyLabels
    image: ImageLike | None = None

    @cached_property
    def class_ids(self) -> np.ndarray:
        """(M,) int64, the most probable class of each box."""
        return np.array([prediction.class_ids[0] for prediction in self.predictions], dtype=np.int64)

    @cached_property
    def scores(self) -> np.ndarray:
        """(M,) float32, the probability of the most probable class."""
        return np.array([prediction.scores[0] for prediction in self.predictions], dtype=np.float32)

    def _take(self, rows: np.ndarray, **changes: Any) -> Self:
        predictions = tuple(self.predictions[row] for row in rows.tolist())
        return replace(self, boxes=self.boxes[rows], predictions=predictions, **changes)

    def _noun(self, count: int) -> str:
        return "box" if count == 1 else "boxes"

    def _columns(self) -> dict[str, list[Any]]:
        """``probabilities`` of all classes, by name; and the names of the ``accepted`` classes where there are thresholds."""
        rows = [prediction.to_dict() for prediction in self.predictions]
        names = [name for name in ("probabilities", "accepted") if all(name in row for row in rows)]
        columns: dict[str, list[Any]] = {"score": self.scores.tolist(), "box": self.boxes.tolist()}
        return columns | {name: [row[name] for row in rows] for name in names}

    def _coco_columns(self) -> dict[str, list[Any]]:
        return {"bbox": coco_boxes(self.boxes), "score": self.scores.tolist()}

    def _draw(self, picture: Image.Image) -> Image.Image:
        """The boxes with their most probable class, or with all classes that a multi-label classifier accepts."""
        captions = [self._caption(prediction) for prediction in self.predictions]
        names = list(dict.fromkeys(captions)) or ["-"]
        ids = np.array([names.index(caption) for caption in captions], dtype=np.int64)
        tagged = DetectPrediction(self.boxes, self.scores, ids, DetectLabels(tuple(names)), draw_threshold=0.0)
        return tagged.draw(picture)

    def _caption(self, prediction: ClassifyPrediction) -> str:
        if not self.spec.multilabel:
            return prediction.class_names[0]
        return ", ".join(prediction.accepted.class_names) or "-"

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"class_name": np.asarray(self.class_names, dtype=str)},
        )
