"""The scores of an image's objects by their masks, for thresholds and calibration (numpy only)."""

from __future__ import annotations

from vertebra.tasks.detect.object_scores import confidences_of_pairs, scores_of_pairs
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.mask_pairs import mask_pairs_of_image
from vertebra.tasks.instances.types import InstancePrediction
from vertebra.tasks.object_scores import Confidences, ObjectScores


def object_scores(prediction: InstancePrediction, annotation: InstanceAnnotation) -> ObjectScores:
    """The scores of the objects whose masks match annotated ones of their class with an IoU of 0.5 or more, best object first, and
    of the others; crowds are no objects, and predictions in them are not wrong."""
    return scores_of_pairs(mask_pairs_of_image(prediction, annotation))


def confidences(prediction: InstancePrediction, annotation: InstanceAnnotation) -> Confidences:
    """The scores of all objects but those in crowds, and which of them match."""
    return confidences_of_pairs(mask_pairs_of_image(prediction, annotation))
