"""The prediction of the detect task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.prediction import Prediction, coco_boxes
from vertebra.tasks.thresholds import OBJECT_THRESHOLD

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.annotations.builder import AnnotationBuilder
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class DetectPrediction(Prediction):
    """The boxes of an image, best first.

    Attributes:
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        scores: (M,) float32 in 0..1.
        class_ids: (M,) int64.
        spec: the classes.
        image: the predicted image (a path, an array or a Pillow image), for `draw`; None where it is unknown.
        draw_threshold: minimum score of a box that `draw` shows. The prediction keeps all boxes, since metrics also need
            those with low scores; `filter` with a score leaves them out and sets this threshold. Tracked boxes are always shown.
        track_ids: (M,) int64, the track of each box, from 1; None where boxes were not tracked, see `vertebra.Tracker`.
    """

    task: ClassVar[str] = "detect"
    thresholded: ClassVar[bool] = True
    per_object: ClassVar[tuple[str, ...]] = ("boxes", "scores", "class_ids")
    trackable: ClassVar[bool] = True
    annotation_kinds: ClassVar[frozenset[str]] = frozenset({"boxes"})

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    spec: DetectLabels
    image: ImageLike | None = None
    draw_threshold: float = OBJECT_THRESHOLD
    track_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.class_ids.shape != (count,):
            shapes = f"{self.boxes.shape}, {self.scores.shape}, {self.class_ids.shape}"
            raise ValueError(f"boxes, scores and class ids must be (M, 4), (M,) and (M,), got {shapes}")
        if self.track_ids is not None and self.track_ids.shape != (count,):
            raise ValueError(f"track ids must be ({count},), got {self.track_ids.shape}")

    def annotate(self, builder: AnnotationBuilder, row: int, min_score: float) -> None:
        """Adds the boxes; see `Prediction.annotate`."""
        columns = (self.class_names, self.boxes.tolist(), self.scores.tolist(), self._attribute_values())
        for name, box, score, values in zip(*columns, strict=True):
            if score >= min_score:
                builder.object(row, name, box=box, attributes={"confidence": score, **values})

    def _noun(self, count: int) -> str:
        return "box" if count == 1 else "boxes"

    def _columns(self) -> dict[str, list[Any]]:
        return {"score": self.scores.tolist(), "box": self.boxes.tolist()}

    def _coco_columns(self) -> dict[str, list[Any]]:
        return {"bbox": coco_boxes(self.boxes), "score": self.scores.tolist()}

    def _draw(self, picture: Image.Image) -> Image.Image:
        from vertebra.tasks.detect.draw import draw_detections

        return draw_detections(self, picture)

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            tracker_id=None if self.track_ids is None else self.track_ids.copy(),
            data=self._supervision_data(),
        )
