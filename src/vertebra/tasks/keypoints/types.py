"""The prediction of the keypoints task."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.annotations.table import Category
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.thresholds import OBJECT_THRESHOLD

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.annotations.builder import AnnotationBuilder
    from vertebra.tasks.base import LabelSpec
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False, repr=False)
class KeypointPrediction(Prediction):
    """The poses of an image, best first: objects with their points.

    Attributes:
        points: (M, K, 2) float32 of x, y in the original image's pixels.
        point_scores: (M, K) float32 in 0..1.
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        scores: (M,) float32 in 0..1.
        class_ids: (M,) int64.
        spec: the points and classes.
        image: the predicted image, for `draw`; None where it is unknown.
        draw_threshold: minimum score of an object, and of a point, that `draw` shows; see `DetectPrediction`.
        track_ids: (M,) int64, the track of each object, from 1; None where objects were not tracked, see `vertebra.Tracker`.
    """

    task: ClassVar[str] = "keypoints"
    thresholded: ClassVar[bool] = True
    per_object: ClassVar[tuple[str, ...]] = ("points", "point_scores", "boxes", "scores", "class_ids")
    trackable: ClassVar[bool] = True
    annotation_kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "points"})

    points: np.ndarray
    point_scores: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    spec: KeypointLabels
    image: ImageLike | None = None
    draw_threshold: float = OBJECT_THRESHOLD
    track_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        count, points = len(self.scores), len(self.spec.points)
        expected = ((count, points, 2), (count, points), (count, 4), (count,), (count,))
        shapes = tuple(getattr(self, name).shape for name in self.per_object)
        if shapes != expected:
            raise ValueError(f"points, their scores, boxes, scores and class ids must be {expected}, got {shapes}")
        if self.track_ids is not None and self.track_ids.shape != (count,):
            raise ValueError(f"track ids must be ({count},), got {self.track_ids.shape}")

    @classmethod
    def categories(cls, spec: LabelSpec) -> list[Category]:
        """The classes with the points of their objects."""
        assert isinstance(spec, KeypointLabels)
        return [Category(name, None, "", spec.points, spec.skeleton, None, spec.flip_pairs) for name in spec.classes]

    def annotate(self, builder: AnnotationBuilder, row: int, min_score: float) -> None:
        """Adds the objects with their points; those with lower scores than objects need are not labeled."""
        points = np.concatenate([self.points, np.full_like(self.points[..., :1], 2)], axis=-1).astype(np.float64)
        points[self.point_scores < min_score] = 0
        columns = (self.class_names, self.boxes.tolist(), points, self.scores.tolist(), self._attribute_values())
        for name, box, pose, score, values in zip(*columns, strict=True):
            if score >= min_score:
                builder.object(row, name, box=box, points=pose, attributes={"confidence": score, **values})

    def _noun(self, count: int) -> str:
        return f"{'object' if count == 1 else 'objects'} with {len(self.spec.points)} points"

    def _columns(self) -> dict[str, list[Any]]:
        """``points`` by name, each as x, y and score."""
        points = [dict(zip(self.spec.points, row, strict=True)) for row in self._point_rows().tolist()]
        return {"score": self.scores.tolist(), "box": self.boxes.tolist(), "points": points}

    def _coco_columns(self) -> dict[str, list[Any]]:
        """``keypoints`` as x, y, score of each point."""
        return {
            "keypoints": self._point_rows().reshape(len(self), 3 * len(self.spec.points)).tolist(),
            "score": self.scores.tolist(),
        }

    def _point_rows(self) -> np.ndarray:
        """(M, K, 3) of x, y, score."""
        return np.concatenate([self.points, self.point_scores[..., None]], axis=-1)

    def _draw(self, picture: Image.Image) -> Image.Image:
        from vertebra.tasks.keypoints.draw import draw_keypoints

        return draw_keypoints(self, picture)

    def _to_supervision(self, supervision: Any) -> Any:
        fields = {"keypoint_confidence": self.point_scores.copy(), "detection_confidence": self.scores.copy()}
        if "keypoint_confidence" not in signature(supervision.KeyPoints).parameters:  # before supervision 0.29
            fields = {"confidence": self.point_scores.copy()}
        data: dict[str, Any] = self._supervision_data()
        if self.track_ids is not None:
            data["tracker_id"] = self.track_ids.copy()
        return supervision.KeyPoints(
            xy=self.points.copy(),
            class_id=self.class_ids.copy(),
            data=data,
            **fields,
        )
