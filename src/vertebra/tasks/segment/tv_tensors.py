"""Masks as ``torchvision.tv_tensors``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vertebra.errors import ConfigError
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.tv_tensors import TVTensors


class SegmentTVTensors(TVTensors):
    """The mask."""

    def wrap(self, annotation: SegmentAnnotation, size: tuple[int, int]) -> dict[str, Any]:
        """``mask`` (H, W), or (K, H, W) where classes may overlap."""
        import torch
        from torchvision import tv_tensors

        mask = np.ascontiguousarray(annotation.mask)
        return {"mask": tv_tensors.Mask(torch.from_numpy(mask if mask.dtype == np.uint8 else mask.astype(np.int32)))}

    def unwrap(
        self, annotation: SegmentAnnotation, tensors: Mapping[str, Any], size: tuple[int, int], labels: SegmentLabels
    ) -> SegmentAnnotation:
        """The mask of the transformed image."""
        mask = np.asarray(tensors["mask"])
        expected = (*annotation.mask.shape[:-2], *size)
        if mask.shape != expected or mask.dtype.kind not in "iu":
            raise ConfigError(
                f"the transform of 'train.augment' returned a mask of {mask.dtype} with shape {mask.shape}; it must be whole "
                f"numbers of the image's size, {expected}"
            )
        return SegmentAnnotation(mask, annotation.exhaustive)
