"""Batches: samples put together, with each branch's targets for the images that are labelled for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as tree

from vertebra.data.samples import Origin, Sample, Skip
from vertebra.tasks.base import LabelSpec
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.targets import ClassifyTargets
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.targets import SegmentTargets


@dataclass(frozen=True, eq=False)
class BranchTargets:
    """The truth of a batch for one branch.

    Attributes:
        rows: (n,) int64, the images that are labelled for it, ascending; n is at least 1.
        targets: the task's own ``Targets`` of these images, in canvas pixels.
    """

    rows: Tensor
    targets: Any


@dataclass(frozen=True, eq=False)
class Batch:
    """Images on the canvas, each labelled for some branches.

    Attributes:
        images: (N, C, H, W) uint8.
        sizes: (N, 2) int64, (height, width) of each image's valid pixels, at the canvas' top left.
        targets: by branch; only branches for which an image is labelled.
        origins: where each image came from.
        truths: by branch, the annotations in the images' own pixels, aligned with ``rows``; empty in training.
        skipped: images that could not be used.
    """

    images: Tensor
    sizes: Tensor
    targets: dict[str, BranchTargets]
    origins: list[Origin]
    truths: dict[str, list[Any]] = field(default_factory=dict)
    skipped: tuple[Skip, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on a device; truths stay where they are."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which it goes to a GPU faster."""
        return self._with(lambda tensor: tensor.pin_memory())

    def _with(self, change: Any) -> Batch:
        targets = {
            name: BranchTargets(change(own.rows), tree.tree_map_only(Tensor, change, own.targets))
            for name, own in self.targets.items()
        }
        return replace(self, images=change(self.images), sizes=change(self.sizes), targets=targets)


def collate(samples: Sequence[Sample], labels: Mapping[str, LabelSpec]) -> Batch:
    """Puts samples together.

    Args:
        samples: at least one, all of the same canvas.
        labels: the labels of each branch.
    """
    targets, truths = {}, {}
    for name, spec in labels.items():
        rows = [row for row, sample in enumerate(samples) if name in sample.targets]
        if rows:
            own = [samples[row].targets[name] for row in rows]
            targets[name] = BranchTargets(torch.tensor(rows), stack_targets(own, spec))
            if all(name in samples[row].truths for row in rows):
                truths[name] = [samples[row].truths[name] for row in rows]
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        sizes=torch.tensor([sample.size for sample in samples], dtype=torch.int64),
        targets=targets,
        origins=[sample.origin for sample in samples],
        truths=truths,
        skipped=tuple(skip for sample in samples for skip in sample.skipped),
    )


def stack_targets(annotations: Sequence[Any], labels: LabelSpec) -> Any:
    """The task's ``Targets`` from annotations in canvas pixels, at least one."""
    if isinstance(annotations[0], ClassifyAnnotation):
        return _classify(annotations, labels)
    if isinstance(annotations[0], DetectAnnotation):
        return _detect(annotations)
    return _segment(annotations)


def _classify(annotations: Sequence[ClassifyAnnotation], labels: LabelSpec) -> ClassifyTargets:
    values = torch.from_numpy(np.stack([np.asarray(annotation.label) for annotation in annotations]))
    exclusive = isinstance(labels, ClassifyLabels) and labels.exclusive
    return ClassifyTargets(values.long() if exclusive else values.float())


def _detect(annotations: Sequence[DetectAnnotation]) -> DetectTargets:
    counts = [len(annotation.labels) for annotation in annotations]
    shape = (len(annotations), max(counts))
    boxes, labels = torch.zeros(*shape, 4), torch.full(shape, -1)
    crowd = torch.zeros(shape, dtype=torch.bool)
    for row, (annotation, count) in enumerate(zip(annotations, counts, strict=True)):
        boxes[row, :count] = torch.from_numpy(annotation.boxes)
        labels[row, :count] = torch.from_numpy(annotation.labels)
        crowd[row, :count] = torch.from_numpy(annotation.crowd)
    return DetectTargets(boxes, labels, crowd, torch.tensor(counts))


def _segment(annotations: Sequence[SegmentAnnotation]) -> SegmentTargets:
    masks = torch.from_numpy(np.stack([annotation.mask for annotation in annotations]))
    return SegmentTargets(masks.long() if masks.ndim == 3 else masks.to(torch.uint8))
