"""Samples as batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from vertebra.data.batches import collate, stack_targets
from vertebra.data.samples import Origin, Sample, Skip
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels

LABELS = {
    "animal": ClassifyLabels(("a", "b")),
    "boxes": DetectLabels(("a", "b")),
    "regions": SegmentLabels(("a", "b")),
}


def boxes(count: int) -> DetectAnnotation:
    array = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    return DetectAnnotation(array, np.arange(count), np.arange(count) == 1)


def sample(
    targets: dict[str, Any], ground_truths: dict[str, Any] | None = None, skipped: tuple[Skip, ...] = ()
) -> Sample:
    origin = Origin(Path("a.png"), ResizeSpec((4, 6)).transform(4, 6))
    return Sample(torch.zeros(3, 4, 6, dtype=torch.uint8), (4, 5), targets, ground_truths or {}, origin, skipped)


def test_each_branch_has_the_images_labeled_for_it() -> None:
    mask = SegmentAnnotation(np.array([[0, 1, 255, 0, 0, 0]] * 4, dtype=np.uint8))
    batch = collate(
        [
            sample({"animal": ClassifyAnnotation(1)}, skipped=(Skip("x", "y"),)),
            sample({"boxes": boxes(2), "regions": mask}),
            sample({}),
            sample({"boxes": boxes(0), "animal": ClassifyAnnotation(0)}),
        ],
        LABELS,
    )
    assert batch.images.shape == (4, 3, 4, 6) and batch.images.dtype == torch.uint8 and len(batch) == 4
    assert batch.sizes.tolist() == [[4, 5]] * 4 and batch.sizes.dtype == torch.int64
    assert {name: own.rows.tolist() for name, own in batch.targets.items()} == {
        "animal": [0, 3],
        "boxes": [1, 3],
        "regions": [1],
    }
    assert batch.targets["animal"].targets.labels.tolist() == [1, 0]
    found = batch.targets["boxes"].targets
    assert found.boxes.shape == (2, 2, 4) and found.boxes.dtype == torch.float32
    assert found.labels.tolist() == [[0, 1], [-1, -1]] and found.count.tolist() == [2, 0]
    assert found.crowd.tolist() == [[False, True], [False, False]]
    regions = batch.targets["regions"].targets.masks
    assert regions.dtype == torch.int64 and regions[0, 0].tolist() == [0, 1, 255, 0, 0, 0]
    assert batch.skipped == (Skip("x", "y"),) and batch.ground_truths == {}


def test_no_label_no_target() -> None:
    assert collate([sample({})], LABELS).targets == {}


def test_nothing_in_any_image() -> None:
    found = stack_targets([boxes(0), boxes(0)], LABELS["boxes"])
    assert found.boxes.shape == (2, 0, 4) and found.count.tolist() == [0, 0]


def test_overlapping_classes() -> None:
    several = [ClassifyAnnotation(np.array([1, 0])), ClassifyAnnotation(np.array([1, 1]))]
    labels = stack_targets(several, ClassifyLabels(("a", "b"), True)).labels
    assert labels.dtype == torch.float32 and labels.tolist() == [[1, 0], [1, 1]]
    planes = SegmentAnnotation(np.ones((2, 4, 6), dtype=np.uint8))
    masks = stack_targets([planes], SegmentLabels(("a", "b"), True)).masks
    assert masks.dtype == torch.uint8 and masks.shape == (1, 2, 4, 6)


def test_truths_are_aligned_with_rows() -> None:
    batch = collate([sample({}), sample({"boxes": boxes(1)}, {"boxes": boxes(3)})], LABELS)
    assert batch.targets["boxes"].rows.tolist() == [1]
    assert [len(ground_truth.labels) for ground_truth in batch.ground_truths["boxes"]] == [3]


def test_moving_keeps_everything() -> None:
    batch = collate([sample({"boxes": boxes(2)}, {"boxes": boxes(2)})], LABELS)
    moved = batch.to("meta")
    assert moved.images.is_meta and moved.sizes.is_meta and moved.targets["boxes"].targets.crowd.is_meta
    assert (
        moved.ground_truths is batch.ground_truths and type(moved.targets["boxes"].targets).__name__ == "DetectTargets"
    )
