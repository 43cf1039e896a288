"""What a report shows of a model that predicts rotated boxes (numpy only)."""

from __future__ import annotations

from vertebra.tasks.detect.diagnosis import DetectDiagnosis
from vertebra.tasks.detect.error_kinds import MATCH_IOU
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.rotated_pairs import rotated_pairs_of_image

RIGHT = f"A rotated box is right if it matches one of its class with a rotated IoU of {MATCH_IOU} or more."


def rotated_diagnosis(labels: RotatedBoxLabels) -> DetectDiagnosis:
    """Compares predicted boxes with annotated ones by their rotated IoU, as `DetectDiagnosis` does by upright boxes."""
    return DetectDiagnosis(labels, rotated_pairs_of_image, RIGHT)
