"""What a report shows of a model that segments objects (numpy only)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vertebra.tasks.detect.box_pairs import BoxPairs
from vertebra.tasks.detect.diagnosis import DetectDiagnosis
from vertebra.tasks.detect.error_kinds import MATCH_IOU
from vertebra.tasks.instances.mask_pairs import mask_pairs_of_image


class InstanceDiagnosis(DetectDiagnosis):
    """Compares predicted objects with annotated ones by their masks, as `DetectDiagnosis` does by their boxes."""

    pairs_of_image: Callable[[Any, Any], BoxPairs] = staticmethod(mask_pairs_of_image)
    right: str = f"An object is right if its mask matches one of its class with an IoU of {MATCH_IOU} or more."
