"""The prediction of the task of rotated boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.annotations.segmentations import Segmentation
from vertebra.geometry.rectangles import center_sides_direction, degrees
from vertebra.tasks.prediction import Prediction, coco_boxes
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.thresholds import OBJECT_THRESHOLD

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.annotations.builder import AnnotationBuilder
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class RotatedBoxPrediction(Prediction):
    """The rotated boxes of an image, best first.

    Attributes:
        corners: (M, 4, 2) float32 of x, y in the original image's pixels, in order around each box; a box at the border may extend
            beyond the image.
        boxes: (M, 4) float32, the upright boxes (xyxy) around them, clipped to the image.
        scores: (M,) float32 in 0..1.
        class_ids: (M,) int64.
        spec: the classes.
        image: the predicted image (a path, an array or a Pillow image), for `draw`; None where it is unknown.
        draw_threshold: minimum score of a box that `draw` shows; see `vertebra.DetectPrediction`.
    """

    task: ClassVar[str] = "rotated_boxes"
    thresholded: ClassVar[bool] = True
    per_object: ClassVar[tuple[str, ...]] = ("corners", "boxes", "scores", "class_ids")
    annotation_kinds: ClassVar[frozenset[str]] = frozenset({"outlines"})

    corners: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    spec: RotatedBoxLabels
    image: ImageLike | None = None
    draw_threshold: float = OBJECT_THRESHOLD

    def __post_init__(self) -> None:
        count = len(self.scores)
        expected = ((count, 4, 2), (count, 4), (count,), (count,))
        shapes = tuple(getattr(self, name).shape for name in self.per_object)
        if shapes != expected:
            raise ValueError(f"corners, boxes, scores and class ids must be {expected}, got {shapes}")

    @property
    def angles(self) -> np.ndarray:
        """(M,) float32, the angle of each box's long side from the x axis: degrees, clockwise, at least -90 and below 90."""
        angles = degrees(self.corners).astype(np.float32)
        return np.where(angles < 90, angles, np.float32(-90))  # rounding may reach 90

    @property
    def centers(self) -> np.ndarray:
        """(M, 2) float32 of x, y, the middle of each box."""
        centers: np.ndarray = self.corners.mean(axis=1)
        return centers

    @property
    def sides(self) -> np.ndarray:
        """(M, 2) float32, the lengths of the long and the short side of each box."""
        _, sides, _ = center_sides_direction(self.corners)
        longest_first: np.ndarray = -np.sort(-sides, axis=1)
        return longest_first

    def annotate(self, builder: AnnotationBuilder, row: int, min_score: float) -> None:
        """Adds the boxes as outlines of four corners; see `Prediction.annotate`."""
        for name, corners, score in zip(self.class_names, self.corners, self.scores.tolist(), strict=True):
            if score >= min_score:
                outline = corners.astype(np.float64).reshape(-1)
                builder.object(row, name, shape=Segmentation((outline,)), attributes={"confidence": score})

    def _noun(self, count: int) -> str:
        return "rotated box" if count == 1 else "rotated boxes"

    def _columns(self) -> dict[str, list[Any]]:
        return {
            "score": self.scores.tolist(),
            "box": self.boxes.tolist(),
            "corners": self.corners.tolist(),
            "center": self.centers.tolist(),
            "sides": self.sides.tolist(),
            "angle": self.angles.tolist(),
        }

    def _coco_columns(self) -> dict[str, list[Any]]:
        """``bbox`` is the upright box; ``segmentation`` has the four corners."""
        outlines = [[outline] for outline in self.corners.reshape(-1, 8).tolist()]
        return {"bbox": coco_boxes(self.boxes), "segmentation": outlines, "score": self.scores.tolist()}

    def _draw(self, picture: Image.Image) -> Image.Image:
        from vertebra.tasks.rotated_boxes.draw import draw_rotated_boxes

        return draw_rotated_boxes(self, picture)

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"xyxyxyxy": self.corners.copy(), **self._supervision_data()},
        )
