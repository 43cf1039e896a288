"""The prediction of the detect task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.errors import ConfigError, install_command
from vertebra.tasks.detect.labels import DetectLabels

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class DetectPrediction:
    """The objects found in an image, best first.

    Attributes:
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        scores: (M,) float32 in 0..1.
        labels: (M,) int64 class ids.
        spec: the classes.
        image: what was predicted on (a path, an array or a Pillow image), for `draw`; None where it is not known.
        shown_from: the score from which on `draw` shows an object. All objects stay in the prediction, since metrics
            need the doubtful ones too; `above` drops them and sets this.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    spec: DetectLabels
    image: ImageLike | None = None
    shown_from: float = 0.3

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,) or self.labels.shape != (count,):
            shapes = f"{self.boxes.shape}, {self.scores.shape}, {self.labels.shape}"
            raise ValueError(f"boxes, scores and labels must be (M, 4), (M,) and (M,), got {shapes}")

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [self.spec.classes[label] for label in self.labels]

    def above(self, threshold: float) -> DetectPrediction:
        """Only the objects whose score is at least ``threshold``."""
        kept = self.scores >= threshold
        return replace(
            self, boxes=self.boxes[kept], scores=self.scores[kept], labels=self.labels[kept], shown_from=threshold
        )

    def with_threshold(self, threshold: float) -> DetectPrediction:
        """The same as `above`: what a user's threshold does to a prediction."""
        return self.above(threshold)

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image with boxes and tags of the objects whose score is at least ``shown_from``.

        Args:
            image: what to draw on; by default the image that was predicted on.

        Raises:
            DataError: there is no image, or it cannot be read.
        """
        from vertebra.tasks.detect.draw import draw_detections
        from vertebra.tasks.picture import open_picture

        return draw_detections(self, open_picture(self.image if image is None else image))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``objects``, each with ``class``, ``label``, ``score`` and ``box`` (xyxy, original pixels)."""
        objects = [
            {"class": name, "label": label, "score": score, "box": box}
            for name, label, score, box in zip(
                self.names, self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True
            )
        ]
        return {"task": "detect", "objects": objects}

    def to_coco(self, image_id: int | str, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """COCO results: one entry an object, ``bbox`` as x, y, width, height.

        Args:
            image_id: the image's id in the COCO file.
            category_ids: the COCO file's category id of each class; by default the class ids themselves.
        """
        boxes = self.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        categories = self.labels if category_ids is None else np.asarray(category_ids)[self.labels]
        return [
            {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
            for category, box, score in zip(categories.tolist(), boxes.tolist(), self.scores.tolist(), strict=True)
        ]

    def to_supervision(self) -> Any:
        """A ``supervision.Detections`` with class names in ``data["class_name"]``.

        Raises:
            ConfigError: the package ``supervision`` is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ConfigError(
                f"to_supervision() needs the package 'supervision': {install_command('supervision')}"
            ) from error
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.labels.copy(),
            data={"class_name": np.asarray(self.names, dtype=str)},
        )
