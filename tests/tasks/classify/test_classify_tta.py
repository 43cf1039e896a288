"""Merging the classes of several views of an image."""

from __future__ import annotations

import numpy as np

from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.tta import ClassifyTTA


def test_the_mean_of_the_probabilities() -> None:
    transform = ResizeSpec((8, 8)).transform(8, 8)
    merger = ClassifyTTA(ClassifyLabels(("a", "b", "c")), whole=True)
    for probabilities, mirrored in (([0.5, 0.25, 0.25], False), ([0.0, 0.75, 0.25], True)):
        merger.add([np.array(probabilities, dtype=np.float32)], ViewTransform(transform, transform, mirrored))
    (found,) = merger.finish()
    assert found.tolist() == [0.25, 0.5, 0.25] and found.dtype == np.float32
