"""Labels of objects with masks."""

from __future__ import annotations

from dataclasses import dataclass

from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True)
class InstanceLabels(LabelSpec):
    """Classes of objects with masks. There is no background class.

    Attributes:
        whole_pixel_masks: masks are drawn into boxes whose sides are rounded outwards to whole pixels, as torchvision does; its
            models have equal masks with it. Without it, masks are drawn to a part of a pixel, which is better for small objects.
    """

    whole_pixel_masks: bool = False
