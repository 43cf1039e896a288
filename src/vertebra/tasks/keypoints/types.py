"""The prediction of the keypoints task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.tasks.keypoints.labels import KeypointLabels

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class KeypointPrediction:
    """The objects found in an image with their points, best first.

    Attributes:
        points: (M, K, 2) float32 of x, y in the original image's pixels.
        point_scores: (M, K) float32 in 0..1.
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        scores: (M,) float32 in 0..1.
        labels: (M,) int64 class ids.
        spec: the points and classes.
        image: what was predicted on, for `draw`; None where it is not known.
        shown_from: the score from which on `draw` shows an object or a point.
    """

    points: np.ndarray
    point_scores: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    spec: KeypointLabels
    image: ImageLike | None = None
    shown_from: float = 0.3

    def __post_init__(self) -> None:
        count, points = len(self.scores), len(self.spec.points)
        wanted = ((count, points, 2), (count, points), (count, 4), (count,), (count,))
        given = tuple(part.shape for part in (self.points, self.point_scores, self.boxes, self.scores, self.labels))
        if given != wanted:
            raise ValueError(f"points, their scores, boxes, scores and labels must be {wanted}, got {given}")

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [self.spec.classes[label] for label in self.labels]

    def above(self, threshold: float) -> KeypointPrediction:
        """Only the objects whose score is at least ``threshold``."""
        kept = self.scores >= threshold
        return replace(
            self,
            points=self.points[kept],
            point_scores=self.point_scores[kept],
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            labels=self.labels[kept],
            shown_from=threshold,
        )

    def with_threshold(self, threshold: float) -> KeypointPrediction:
        """The same as `above`: what a user's threshold does to a prediction."""
        return self.above(threshold)

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image with the points and skeletons of the objects whose score is at least ``shown_from``.

        Args:
            image: what to draw on; by default the image that was predicted on.

        Raises:
            DataError: there is no image, or it cannot be read.
        """
        from vertebra.tasks.keypoints.draw import draw_keypoints
        from vertebra.tasks.picture import open_picture

        return draw_keypoints(self, open_picture(self.image if image is None else image))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``objects``, each with class, score, box and ``points`` by name as x, y and score (original pixels)."""
        objects = []
        for place, name in enumerate(self.names):
            points = {
                point: [float(x), float(y), float(score)]
                for point, (x, y), score in zip(
                    self.spec.points, self.points[place], self.point_scores[place], strict=True
                )
            }
            objects.append(
                {
                    "class": name,
                    "label": int(self.labels[place]),
                    "score": float(self.scores[place]),
                    "box": self.boxes[place].tolist(),
                    "points": points,
                }
            )
        return {"task": "keypoints", "objects": objects}

    def to_coco(self, image_id: int | str, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """COCO results: one entry an object, ``keypoints`` as x, y, score of each point.

        Args:
            image_id: the image's id in the COCO file.
            category_ids: the COCO file's category id of each class; by default the class ids themselves.
        """
        rows = np.concatenate([self.points, self.point_scores[..., None]], axis=-1).reshape(
            len(self), 3 * len(self.spec.points)
        )
        categories = self.labels if category_ids is None else np.asarray(category_ids)[self.labels]
        return [
            {"image_id": image_id, "category_id": category, "keypoints": row, "score": score}
            for category, row, score in zip(categories.tolist(), rows.tolist(), self.scores.tolist(), strict=True)
        ]
