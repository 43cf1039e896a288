"""Classes of images that are made of two."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.scope import intersected
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.data import probabilities
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.mixing import Mixing, Rectangle


class ClassifyMixing(Mixing):
    """Probabilities of classes in place of one class, by the share of each image."""

    operations = frozenset({"mixup", "cutmix"})

    def mixup(
        self, first: ClassifyAnnotation, second: ClassifyAnnotation, share: float, labels: ClassifyLabels
    ) -> ClassifyAnnotation:
        """The weighted mean of both; a class is known if it is in both."""
        mean = share * probabilities(first, labels) + (1 - share) * probabilities(second, labels)
        return ClassifyAnnotation(mean.astype(np.float32), intersected([first.known, second.known]))

    def cutmix(
        self,
        first: ClassifyAnnotation,
        second: ClassifyAnnotation,
        rectangle: Rectangle,
        share: float,
        labels: ClassifyLabels,
    ) -> ClassifyAnnotation:
        """The mean of both, weighted by their areas."""
        return self.mixup(first, second, share, labels)
