"""Batches: stacked samples, with the targets of each branch for the images that are labeled for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as tree

from vertebra.data.samples import Origin, Sample, Skip
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import task_of
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True, eq=False)
class BranchTargets:
    """The targets of a batch for one branch.

    Attributes:
        rows: (n,) int64, the images that are labeled for it, ascending; n is at least 1.
        targets: the task's ``Targets`` of these images, in canvas pixels.
    """

    rows: Tensor
    targets: Any


@dataclass(frozen=True, eq=False)
class Batch:
    """Images on the canvas, each labeled for some branches.

    Attributes:
        images: (N, C, H, W) uint8.
        sizes: (N, 2) int64, (height, width) of each image's valid pixels, at the canvas' top left.
        targets: by branch; only branches for which an image is labeled.
        origins: the file and transform of each image.
        ground_truths: by branch, the annotations in the images' own pixels, aligned with ``rows``; empty in training.
        skipped: images that could not be used.
        adapted: how annotations were brought over from another size of the image, by the image's file.
    """

    images: Tensor
    sizes: Tensor
    targets: dict[str, BranchTargets]
    origins: list[Origin]
    ground_truths: dict[str, list[Any]] = field(default_factory=dict)
    skipped: tuple[Skip, ...] = ()
    adapted: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on a device; ground truths are unchanged."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, for faster copies to a GPU."""
        return self._with(lambda tensor: tensor.pin_memory())

    def _with(self, change: Any) -> Batch:
        targets = {
            name: BranchTargets(change(branch.rows), tree.tree_map_only(Tensor, change, branch.targets))
            for name, branch in self.targets.items()
        }
        return replace(self, images=change(self.images), sizes=change(self.sizes), targets=targets)


def collate(samples: Sequence[Sample], labels: Mapping[str, LabelSpec]) -> Batch:
    """Collates samples into a batch.

    Args:
        samples: at least one.
        labels: the labels of each branch.
    """
    targets, ground_truths = {}, {}
    for name, spec in labels.items():
        rows = [row for row, sample in enumerate(samples) if name in sample.targets]
        if rows:
            branch_targets = [samples[row].targets[name] for row in rows]
            targets[name] = BranchTargets(torch.tensor(rows), stack_targets(branch_targets, spec))
            if all(name in samples[row].ground_truths for row in rows):
                ground_truths[name] = [samples[row].ground_truths[name] for row in rows]
    return Batch(
        images=_stack_images([sample.image for sample in samples]),
        sizes=torch.tensor([sample.size for sample in samples], dtype=torch.int64),
        targets=targets,
        origins=[sample.origin for sample in samples],
        ground_truths=ground_truths,
        skipped=tuple(skip for sample in samples for skip in sample.skipped),
        adapted={str(sample.origin.path): sample.adapted for sample in samples if sample.adapted},
    )


def stack_targets(annotations: Sequence[Any], labels: LabelSpec) -> Any:
    """The task's ``Targets`` from annotations in canvas pixels, at least one."""
    return task_of(annotations[0]).data.stack(annotations, labels)


def _stack_images(images: Sequence[Tensor]) -> Tensor:
    """Canvases as one batch; smaller ones are padded with fill at their right and bottom."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    if all(image.shape[1:] == (height, width) for image in images):
        return torch.stack(list(images))
    channels = images[0].shape[0]
    fill = torch.tensor(ResizeSpec((height, width)).fill_for(channels), dtype=images[0].dtype)
    batch = fill[:, None, None].repeat(len(images), 1, height, width).reshape(len(images), channels, height, width)
    for canvas, image in zip(batch, images, strict=True):
        canvas[:, : image.shape[1], : image.shape[2]] = image
    return batch
