"""The prediction of the classify task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.thresholds import CLASS_THRESHOLD, ClassThresholds, ScoreThreshold, class_thresholds

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from vertebra.annotations.builder import AnnotationBuilder
    from vertebra.tasks.base import LabelSpec
    from vertebra.tasks.picture import ImageLike

MAX_LISTED = 5  # classes that `to_dict` lists as objects, besides the probabilities of all


@dataclass(frozen=True, eq=False, repr=False)
class ClassifyPrediction(Prediction):
    """The classes of an image. Its objects are the classes, the most probable first: ``prediction[0]`` is the best,
    ``prediction[:5]`` the best five, ``prediction.filter(min_score=0.5)`` the predicted classes of a multi-label classifier.

    Attributes:
        probabilities: (K,) float32 of all classes in the order of their ids, including those not in ``picked``; they sum to 1
            for exclusive classes.
        spec: the classes.
        image: the predicted image (a path, an array or a Pillow image), for `draw`; None where it is unknown.
        picked: (M,) ids of the classes that are objects, the most probable first; None for all.
        thresholds: the minimum score by which `accepted` decides, of all classes or (K,) of each; None for the rule of the labels.
    """

    task: ClassVar[str] = "classify"
    annotation_kinds: ClassVar[frozenset[str]] = frozenset({"labels"})

    probabilities: np.ndarray
    spec: ClassifyLabels
    image: ImageLike | None = None
    picked: np.ndarray | None = None
    thresholds: ScoreThreshold | None = None

    def __post_init__(self) -> None:
        if self.probabilities.shape != (self.spec.class_count,):
            raise ValueError(f"{self.spec.class_count} classes, but probabilities of {self.probabilities.shape}")

    @cached_property
    def class_ids(self) -> np.ndarray:
        """(M,) int64, the most probable class first."""
        if self.picked is not None:
            return self.picked
        order: np.ndarray = np.argsort(-self.probabilities, kind="stable").astype(np.int64)
        return order

    @property
    def scores(self) -> np.ndarray:
        """(M,) float32, the probability of each class."""
        scores: np.ndarray = self.probabilities[self.class_ids]
        return scores

    @classmethod
    def choose_threshold(cls, spec: LabelSpec, given: float | None, stored: ClassThresholds) -> ScoreThreshold | None:
        """The minimum probability by which `accepted` decides: the user's, else those that the model stores."""
        if given is not None or not stored:
            return given
        return class_thresholds(stored, spec.classes, CLASS_THRESHOLD)

    def apply_threshold(self, threshold: ScoreThreshold) -> Self:
        """The same classes, of which `accepted` has those that reach the threshold. A predictor leaves out no class."""
        return replace(self, thresholds=threshold)

    @property
    def accepted(self) -> Self:
        """The classes that the image has by the thresholds; those of the model, or the user's one.

        Without thresholds: the most probable class, or all classes of at least 0.5 where they may overlap. With thresholds:
        all classes that reach theirs, also where classes are exclusive, so that there may be none or several: a class whose
        threshold has a promise (``vertebra calibrate``) is among them as often as promised. The most probable class is
        ``prediction[0]``, whatever the thresholds are.
        """
        if self.thresholds is None and not self.spec.multilabel:
            return self[:1]
        threshold = CLASS_THRESHOLD if self.thresholds is None else self.thresholds
        return self._take(self._reaching(threshold))

    def top(self, k: int = 1) -> list[tuple[str, float]]:
        """The ``k`` most probable classes with their probabilities, best first; fewer if there are fewer classes."""
        best = self[:k]
        return list(zip(best.class_names, best.scores.tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``objects``, the five most probable, each with ``class_name``, ``class_id`` and ``score``; the
        ``probabilities`` of all classes by name; and the names of the `accepted` classes where there are thresholds.
        """
        probabilities = dict(zip(self.spec.classes, self.probabilities.tolist(), strict=True))
        best = self[:MAX_LISTED]
        accepted = {} if self.thresholds is None else {"accepted": self.accepted.class_names}
        return {**super(ClassifyPrediction, best).to_dict(), "probabilities": probabilities, **accepted}

    def annotate(self, builder: AnnotationBuilder, row: int, min_score: float) -> None:
        """Adds the most probable class, or the classes of a multi-label classifier, that reach the score and their thresholds."""
        chosen = self[:1] if not self.spec.multilabel else self if self.thresholds is None else self.accepted
        for name, score in zip(chosen.class_names, chosen.scores.tolist(), strict=True):
            if score >= min_score:
                builder.label(row, name)

    def _take(self, rows: np.ndarray, **changes: Any) -> Self:
        return replace(self, picked=self.class_ids[rows], **changes)

    def _noun(self, count: int) -> str:
        return "class" if count == 1 else "classes"

    def _columns(self) -> dict[str, list[Any]]:
        return {"score": self.scores.tolist()}

    def _draw(self, picture: Image.Image) -> Image.Image:
        from vertebra.tasks.classify.draw import draw_classification

        return draw_classification(self, picture)

    def _to_supervision(self, supervision: Any) -> Any:
        return supervision.Classifications(class_id=self.class_ids.copy(), confidence=self.scores)
