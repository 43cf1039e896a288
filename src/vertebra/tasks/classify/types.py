"""The prediction of the classify task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vertebra.tasks.classify.labels import ClassifyLabels

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class ClassifyPrediction:
    """What an image shows.

    Attributes:
        probabilities: (K,) float32; they sum to 1 where classes are exclusive.
        labels: the classes.
        image: what was predicted on (a path, an array or a Pillow image), for `draw`; None where it is not known.
    """

    probabilities: np.ndarray
    labels: ClassifyLabels
    image: ImageLike | None = None

    def __post_init__(self) -> None:
        if self.probabilities.shape != (self.labels.class_count,):
            raise ValueError(f"{self.labels.class_count} classes, but probabilities of {self.probabilities.shape}")

    def top(self, k: int = 1) -> list[tuple[str, float]]:
        """The ``k`` likeliest classes with their probabilities, best first; fewer where there are fewer classes."""
        best = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels.classes[i], float(self.probabilities[i])) for i in best]

    def above(self, threshold: float = 0.5) -> list[str]:
        """Names of the classes whose probability is at least ``threshold``: the answer where classes may overlap."""
        return [name for name, p in zip(self.labels.classes, self.probabilities, strict=True) if p >= threshold]

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image with bars of its likeliest classes below.

        Args:
            image: what to draw on; by default the image that was predicted on.

        Raises:
            DataError: there is no image, or it cannot be read.
        """
        from vertebra.tasks.classify.draw import draw_classification
        from vertebra.tasks.picture import open_picture

        return draw_classification(self, open_picture(self.image if image is None else image))

    def with_threshold(self, threshold: float) -> ClassifyPrediction:
        """The prediction as it is: it has no objects to leave out."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the answer (``class`` and ``probability``, or ``classes``), and the probability of each class."""
        probabilities = {name: float(p) for name, p in zip(self.labels.classes, self.probabilities, strict=True)}
        if not self.labels.exclusive:
            return {"task": "classify", "classes": self.above(), "probabilities": probabilities}
        name, probability = self.top(1)[0]
        return {"task": "classify", "class": name, "probability": probability, "probabilities": probabilities}
