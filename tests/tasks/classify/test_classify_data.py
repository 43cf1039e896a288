"""Annotations of classes become targets."""

from __future__ import annotations

import numpy as np
import torch

from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.data import ClassifyData
from vertebra.tasks.classify.labels import ClassifyLabels

LABELS = ClassifyLabels(("a", "b", "c"))
MIXED = ClassifyAnnotation(np.array([0.25, 0, 0.75], dtype=np.float32))


def test_classes_are_ids_and_mixed_images_have_probabilities() -> None:
    plain = ClassifyData().stack([ClassifyAnnotation(2), ClassifyAnnotation(0)], LABELS).labels
    assert plain.dtype == torch.int64 and plain.tolist() == [2, 0]
    mixed = ClassifyData().stack([ClassifyAnnotation(1), MIXED], LABELS).labels
    assert mixed.dtype == torch.float32 and mixed.tolist() == [[0, 1, 0], [0.25, 0, 0.75]]


def test_classes_that_occur_together() -> None:
    labels = ClassifyLabels(("a", "b", "c"), multilabel=True)
    both = ClassifyData().stack([ClassifyAnnotation(np.array([1, 0, 1])), MIXED], labels).labels
    assert both.dtype == torch.float32 and both.tolist() == [[1, 0, 1], [0.25, 0, 0.75]]
