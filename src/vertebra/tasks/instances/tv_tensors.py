"""Masks of objects as ``torchvision.tv_tensors``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vertebra.annotations.run_lengths import Region
from vertebra.errors import ConfigError
from vertebra.tasks.detect.tv_tensors import boxes_with_rows
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.tv_tensors import TVTensors


class InstanceTVTensors(TVTensors):
    """Boxes and masks, with the row of each object in ``labels``, so that objects can be dropped together with their labels."""

    def wrap(self, annotation: InstanceAnnotation, size: tuple[int, int]) -> dict[str, Any]:
        """``boxes`` (M, 4), ``labels`` (M,) int64, the row of each object, and ``masks`` (M, H, W) bool."""
        import torch
        from torchvision import tv_tensors

        masks = np.zeros((len(annotation.rles), *size), dtype=bool)
        for row, region in enumerate(annotation.rles):
            masks[row] = region.mask()
        return {**boxes_with_rows(annotation.boxes, size), "masks": tv_tensors.Mask(torch.from_numpy(masks))}

    def unwrap(
        self, annotation: InstanceAnnotation, tensors: Mapping[str, Any], size: tuple[int, int], labels: InstanceLabels
    ) -> InstanceAnnotation:
        """The remaining objects that have a pixel, with the boxes around their masks."""
        masks, rows = np.asarray(tensors["masks"]), np.asarray(tensors["labels"])
        count = len(annotation.labels)
        if masks.shape != (len(rows), *size) or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
            raise ConfigError(
                f"the transform of 'train.augment' returned 'masks' of shape {masks.shape} and 'labels' of shape {rows.shape}; "
                f"each mask needs its label and the image's size, {size}, and labels are not changed"
            )
        rles = [Region.of(mask != 0) for mask in masks]
        return InstanceAnnotation.of(rles, annotation.labels[rows], annotation.crowd[rows], size, annotation.exhaustive)
