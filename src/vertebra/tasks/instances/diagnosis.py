"""What a report shows of a model that segments objects (numpy only)."""

from __future__ import annotations

from vertebra.tasks.detect.diagnosis import DetectDiagnosis
from vertebra.tasks.detect.error_kinds import MATCH_IOU
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.mask_pairs import mask_pairs_of_image

RIGHT = f"An object is right if its mask matches one of its class with an IoU of {MATCH_IOU} or more."


def instance_diagnosis(labels: InstanceLabels) -> DetectDiagnosis:
    """Compares predicted objects with annotated ones by their masks, as `DetectDiagnosis` does by their boxes."""
    return DetectDiagnosis(labels, mask_pairs_of_image, RIGHT)
