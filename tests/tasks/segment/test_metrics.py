"""Metrics of the segment task, against hand-computed cases and torchmetrics' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index, multilabel_jaccard_index
from torchmetrics.functional.segmentation import dice_score

from vertebra.errors import DataError
from vertebra.tasks.metric import TaskMetric
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.metrics import build_metric
from vertebra.tasks.segment.types import SegmentPrediction


def _metric(masks: list[np.ndarray], ground_truths: list[np.ndarray], labels: SegmentLabels) -> TaskMetric:
    metric = build_metric(labels)
    for mask, ground_truth in zip(masks, ground_truths, strict=True):
        metric.update([SegmentPrediction(mask, labels)], [SegmentAnnotation(ground_truth)])
    return metric


def _labels(count: int, **options: object) -> SegmentLabels:
    return SegmentLabels(tuple(f"c{i}" for i in range(count)), **options)  # type: ignore[arg-type]


def test_exclusive_by_hand() -> None:
    mask = np.asarray([[0, 0, 1], [1, 1, 2]], dtype=np.uint8)
    ground_truth = np.asarray([[0, 1, 1], [1, 255, 255]], dtype=np.int64)
    metrics = _metric([mask], [ground_truth], _labels(4)).compute()
    # counted: (0,0) (0,1) (1,1) (1,1); c2 is said on an ignored pixel only, c3 nowhere
    assert metrics == pytest.approx(
        {
            "mean_iou": (1 / 2 + 2 / 3) / 2,
            "mean_dice": (2 / 3 + 4 / 5) / 2,
            "pixel_accuracy": 3 / 4,
            "iou/c0": 1 / 2,
            "iou/c1": 2 / 3,
        }
    )


def test_exclusive_equals_torchmetrics() -> None:
    draw = np.random.default_rng(0)
    masks = [draw.integers(0, 5, (9, 12)).astype(np.uint8) for _ in range(3)]
    ground_truths = [np.where(draw.random((9, 12)) < 0.1, 254, draw.integers(0, 5, (9, 12))) for _ in range(3)]
    metrics = _metric(masks, ground_truths, _labels(5, ignore_index=254)).compute()
    answer, ground_truth = torch.tensor(np.stack(masks)).long(), torch.tensor(np.stack(ground_truths)).long()
    each = multiclass_jaccard_index(answer, ground_truth, 5, average=None, ignore_index=254)
    assert [metrics[f"iou/c{i}"] for i in range(5)] == pytest.approx(each.tolist())
    assert metrics["mean_iou"] == pytest.approx(each.mean().item())
    counted = ground_truth != 254
    assert metrics["pixel_accuracy"] == pytest.approx((answer == ground_truth)[counted].float().mean().item())
    dice = dice_score(
        answer[counted][None],
        ground_truth[counted][None],
        5,
        average="macro",
        input_format="index",
        aggregation_level="global",
    )
    assert metrics["mean_dice"] == pytest.approx(dice.item())


def test_overlapping_by_hand() -> None:
    mask = np.asarray([[[1, 1, 0]], [[0, 1, 1]], [[0, 0, 0]]], dtype=bool)
    ground_truth = np.asarray([[[1, 0, 0]], [[0, 1, 255]], [[0, 0, 0]]], dtype=np.uint8)
    metrics = _metric([mask], [ground_truth], _labels(3, multilabel=True)).compute()
    assert metrics == pytest.approx(
        {
            "mean_iou": (1 / 2 + 1) / 2,
            "mean_dice": (2 / 3 + 1) / 2,
            "pixel_accuracy": 7 / 8,
            "iou/c0": 1 / 2,
            "iou/c1": 1.0,
        }
    )


def test_overlapping_equals_torchmetrics() -> None:
    draw = np.random.default_rng(2)
    mask, ground_truth = draw.random((2, 4, 8, 6)) < 0.5
    metrics = _metric([mask], [ground_truth.astype(np.uint8)], _labels(4, multilabel=True)).compute()
    rows = [torch.tensor(layers.reshape(4, -1).T.astype(np.int64)) for layers in (mask, ground_truth)]
    each = multilabel_jaccard_index(*rows, num_labels=4, average=None)
    assert [metrics[f"iou/c{i}"] for i in range(4)] == pytest.approx(each.tolist())


def test_a_mask_of_ids_is_taken_apart() -> None:
    mask = np.asarray([[[1, 0, 0]], [[0, 1, 1]]], dtype=bool)
    ground_truth = np.asarray([[0, 1, 255]])
    metrics = _metric([mask], [ground_truth], _labels(2, multilabel=True)).compute()
    assert (metrics["mean_iou"], metrics["pixel_accuracy"]) == (1, 1)


@pytest.mark.parametrize("multilabel", [False, True])
def test_nothing_counted_and_reset(multilabel: bool) -> None:
    shape = (2, 2) if not multilabel else (3, 2, 2)
    metric = _metric([np.zeros(shape, np.uint8)], [np.full(shape, 255)], _labels(3, multilabel=multilabel))
    assert metric.compute() == {}
    metric = _metric([np.zeros(shape, np.uint8)], [np.zeros(shape, np.uint8)], _labels(3, multilabel=multilabel))
    assert metric.compute()["pixel_accuracy"] == 1
    metric.reset()
    assert metric.compute() == {}


def test_wrong_masks_are_told() -> None:
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(DataError, match=r"the prediction's mask is \(2, 2\), the annotation's \(2, 3\)"):
        _metric([mask], [np.zeros((2, 3), np.uint8)], _labels(2))
    with pytest.raises(DataError, match="the mask has the value 7: there are 2 classes; ignore: 255"):
        _metric([mask], [mask + 7], _labels(2))
    with pytest.raises(DataError, match="hold 0, 1 or 255, got other values"):
        _metric([np.zeros((2, 1, 1), bool)], [np.full((2, 1, 1), 3)], _labels(2, multilabel=True))
