"""Classes of the crops of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.crops import Crops

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class BoxedPredictions(Sequence[ClassifyPrediction]):
    """The classes of each box of an image, in the boxes' order.

    Attributes:
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        predictions: one for each box.
        image: what was predicted on, for `draw`; None where it is not known.
    """

    boxes: np.ndarray
    predictions: tuple[ClassifyPrediction, ...]
    image: ImageLike | None = None

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.predictions)

    def __getitem__(self, index: Any) -> Any:
        return self.predictions[index]

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image with its boxes, each with the likeliest class (the likely ones, where classes may overlap).

        Raises:
            DataError: there is no image, or it cannot be read.
        """
        from vertebra.tasks.detect.labels import DetectLabels
        from vertebra.tasks.detect.types import DetectPrediction

        tags = [_tag(prediction) for prediction in self.predictions]
        names = list(dict.fromkeys(name for name, _ in tags)) or ["-"]
        shown = DetectPrediction(
            self.boxes,
            np.array([score for _, score in tags], dtype=np.float32),
            np.array([names.index(name) for name, _ in tags], dtype=np.int64),
            DetectLabels(tuple(names)),
            self.image,
            shown_from=0.0,
        )
        return shown.draw(image)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``objects``, each with ``box`` (xyxy, original pixels) and its classes."""
        pairs = zip(self.boxes.tolist(), self.predictions, strict=True)
        return {"task": "classify", "objects": [{"box": box, **prediction.to_dict()} for box, prediction in pairs]}


def _tag(prediction: ClassifyPrediction) -> tuple[str, float]:
    """The likeliest class, or the likely ones, in words, and the probability of the likeliest."""
    name, probability = prediction.top(1)[0]
    if prediction.labels.exclusive:
        return name, probability
    likely = [each for each, value in prediction.top(prediction.labels.class_count) if value >= 0.5]
    return ", ".join(likely) or "-", probability


def merge_crops(predictions: Sequence[ClassifyPrediction], crops: Crops, labels: ClassifyLabels) -> BoxedPredictions:
    """The classes of each box."""
    return BoxedPredictions(crops.boxes, tuple(predictions), crops.image)
