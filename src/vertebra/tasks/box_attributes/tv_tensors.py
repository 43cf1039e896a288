"""Objects with attributes as ``torchvision.tv_tensors``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation, follow
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.tv_tensors import DetectTVTensors
from vertebra.tasks.tv_tensors import TVTensors

BOXES = DetectTVTensors()
OBJECTS = DetectLabels(("object",))


class AttributeTVTensors(TVTensors):
    """Boxes with the row of each in ``labels``."""

    def wrap(self, annotation: AttributeAnnotation, size: tuple[int, int]) -> dict[str, Any]:
        """``boxes`` (M, 4) and ``labels`` (M,) int64, the row of each object."""
        return BOXES.wrap(annotation.objects, size)

    def unwrap(
        self,
        annotation: AttributeAnnotation,
        tensors: Mapping[str, Any],
        size: tuple[int, int],
        labels: AttributeLabels,
    ) -> AttributeAnnotation:
        """The remaining objects, clipped to the image, without empty ones."""
        return follow(BOXES.unwrap(annotation.numbered, tensors, size, OBJECTS), [annotation])
