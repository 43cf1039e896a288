"""Ground-truth masks that are read at points, for queries that predict masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.layers.tracing import is_tracing
from vertebra.tasks.instances.targets import InstanceTargets
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.targets import SegmentTargets

BORDER = 2  # cells of zeros around a mask over its box


class MaskTargets(ABC):
    """The masks of a batch.

    Attributes:
        labels: (N, M) int64 class ids, 0 for padding; M is at least 1.
        count: (N,) int64, how many of the M are real; they come first.
        exhaustive: (N, K) bool, the classes that are annotated, see `vertebra.losses.scope`; None for all.
    """

    labels: Tensor
    count: Tensor
    exhaustive: Tensor | None

    @abstractmethod
    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The masks at points.

        Args:
            points: (N, M, P, 2) x, y in canvas pixels, those of each mask; or (N, 1, P, 2), the same for all.

        Returns:
            (N, M, P) in 0..1, and the weights of the points, 0 where the ground truth is unknown: (N, M, P) or (N, 1, P).
        """


@dataclass(frozen=True)
class ClassMasks(MaskTargets):
    """The masks of the classes that an image has, from a map of class ids or from one mask for each class.

    Attributes:
        masks: (N, H, W) class ids, or (N, K, H, W) of 0 and 1; with the ignore index.
        ignore_index: of pixels without ground truth.
        labels, count, exhaustive: see `MaskTargets`.
    """

    masks: Tensor
    ignore_index: int
    labels: Tensor
    count: Tensor
    exhaustive: Tensor | None = None

    @classmethod
    def of(cls, targets: SegmentTargets, labels: SegmentLabels) -> ClassMasks:
        """The masks of the targets of a segment branch. Of overlapping classes, one that is neither present nor absent in any pixel
        is not annotated."""
        masks, exhaustive = targets
        ids = torch.arange(labels.class_count, device=masks.device)
        if labels.multilabel:
            present = (masks == 1).flatten(2).any(dim=-1)
            exhaustive = present | (masks == 0).flatten(2).any(dim=-1)
        else:
            known = torch.where((masks >= 0) & (masks < labels.class_count), masks, labels.class_count).flatten(1)
            counts = torch.zeros(len(masks), labels.class_count + 1, device=masks.device)
            present = counts.scatter_add(1, known, torch.ones_like(known).float())[:, :-1] > 0
        count = present.sum(dim=1)
        order = torch.where(present, ids, ids + labels.class_count).argsort(dim=1)
        if not is_tracing(masks):  # fewer rows than there are classes
            order = order[:, : max(1, int(count.max()))]
        real = torch.arange(order.shape[1], device=masks.device) < count[:, None]
        return cls(masks, labels.ignore_index, torch.where(real, order, 0), count, exhaustive)

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskTargets.at`; that of the pixel in which a point lies."""
        height, width = self.masks.shape[-2:]
        column = points[..., 0].long().clamp(0, width - 1)
        pixel = points[..., 1].long().clamp(0, height - 1) * width + column
        if self.masks.dim() == 4:
            pixel = pixel + self.labels[..., None] * (height * width)
        values = self.masks.flatten(1).gather(1, pixel.flatten(1)).reshape(pixel.shape)
        inside = values == (1 if self.masks.dim() == 4 else self.labels[..., None])
        return inside.float(), (values != self.ignore_index).float()


@dataclass(frozen=True)
class BoxedMasks(MaskTargets):
    """The masks of objects, each in the cells of its box.

    Attributes:
        masks: (N, M, C, C) uint8, the share of each cell that the object covers, 0 to 255.
        boxes: (N, M, 4) xyxy in canvas pixels, 0 for padding.
        labels, count, exhaustive: see `MaskTargets`.
    """

    masks: Tensor
    boxes: Tensor
    labels: Tensor
    count: Tensor
    exhaustive: None = None

    @classmethod
    def of(cls, targets: InstanceTargets) -> BoxedMasks:
        """The masks of the targets of an instances branch."""
        masks, boxes, labels, count = targets
        if not labels.shape[1]:  # one row of padding
            masks = masks.new_zeros(len(masks), 1, *masks.shape[2:])
            boxes, labels = boxes.new_zeros(len(boxes), 1, 4), labels.new_full((len(labels), 1), -1)
        return cls(masks, boxes.float(), labels.clamp(min=0), count)

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskTargets.at`; bilinear between the centers of the cells, 0 outside of the box."""
        cells = self.masks.shape[-1]
        corner, sides = self.boxes[:, :, None, :2], (self.boxes[..., 2:] - self.boxes[..., :2])[:, :, None]
        inside = (points - corner) / sides.clamp(min=1e-3) * cells + BORDER
        padded = F.pad(self.masks.flatten(0, 1)[:, None].float() / 255, (BORDER,) * 4)
        grid = 2 * inside / (cells + 2 * BORDER) - 1
        values = F.grid_sample(padded, grid.flatten(0, 1)[:, None], align_corners=False)[:, 0, 0]
        return values.reshape(*self.labels.shape, -1), torch.ones_like(points[..., 0])


def real_masks(targets: MaskTargets) -> Tensor:
    """Which masks are no padding."""
    return torch.arange(targets.labels.shape[1], device=targets.count.device) < targets.count[:, None]
