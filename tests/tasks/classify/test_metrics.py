"""Metrics of the classify task, against hand-computed cases and torchmetrics' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_f1_score,
    multilabel_accuracy,
    multilabel_average_precision,
    multilabel_f1_score,
)

from vertebra.errors import DataError
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.metrics import build_metric
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.metric import TaskMetric


def _metric(probabilities: np.ndarray, ground_truth: np.ndarray, multilabel: bool = False, step: int = 7) -> TaskMetric:
    labels = ClassifyLabels(tuple(f"c{i}" for i in range(probabilities.shape[1])), multilabel)
    metric = build_metric(labels)
    for start in range(0, len(ground_truth), step):
        metric.update(
            [ClassifyPrediction(row, labels) for row in probabilities[start : start + step]],
            [ClassifyAnnotation(label) for label in ground_truth[start : start + step]],
        )
    return metric


def test_exclusive_by_hand() -> None:
    answers, ground_truth = np.asarray([0, 0, 1, 2]), np.asarray([0, 1, 1, 1])
    metrics = _metric(np.eye(4, dtype=np.float32)[answers], ground_truth).compute()
    # c0: 1 right, 2 said, 1 true; c1: 1 right, 1 said, 3 true; c2: 0 right, 1 said, 0 true; c3 nowhere
    assert metrics == pytest.approx(
        {"accuracy": 0.5, "f1": (2 / 3 + 2 / 4 + 0) / 3, "class/c0": 1.0, "class/c1": 1 / 3}
    )


def test_exclusive_equals_torchmetrics() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet(np.ones(8), 60).astype(np.float32)
    ground_truth = draw.integers(0, 8, 60)
    metrics = _metric(probabilities, ground_truth).compute()
    scores, labels = torch.from_numpy(probabilities), torch.from_numpy(ground_truth)
    assert metrics["accuracy"] == pytest.approx(multiclass_accuracy(scores, labels, 8, average="micro").item())
    assert metrics["top_5"] == pytest.approx(multiclass_accuracy(scores, labels, 8, average="micro", top_k=5).item())
    assert metrics["f1"] == pytest.approx(multiclass_f1_score(scores, labels, 8, average="macro").item())
    each = multiclass_accuracy(scores, labels, 8, average=None)
    assert [metrics[f"class/c{i}"] for i in range(8)] == pytest.approx(each.tolist())


def test_top_5_only_of_more_than_five_classes() -> None:
    assert "top_5" not in _metric(np.eye(5, dtype=np.float32), np.arange(5)).compute()
    assert "top_5" in _metric(np.eye(6, dtype=np.float32), np.arange(6)).compute()


def test_multi_label_by_hand() -> None:
    probabilities = np.asarray([[0.9, 0.2, 0.1], [0.8, 0.6, 0.1], [0.3, 0.7, 0.2]], dtype=np.float32)
    ground_truth = np.asarray([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    metrics = _metric(probabilities, ground_truth, multilabel=True).compute()
    # c0: ranked right, wrong, right: (1 + 2/3) / 2; c1: both first; c2 nowhere
    assert metrics == pytest.approx(
        {
            "accuracy": 7 / 9,
            "f1": (2 / 4 + 4 / 4) / 2,
            "map": (5 / 6 + 1) / 2,
            "f1/c0": 0.5,
            "f1/c1": 1.0,
            "map/c0": 5 / 6,
            "map/c1": 1.0,
        }
    )


def test_multi_label_equals_torchmetrics() -> None:
    draw = np.random.default_rng(1)
    probabilities = draw.random((50, 4)).astype(np.float32)
    ground_truth = (draw.random((50, 4)) < 0.4).astype(np.int64)
    metrics = _metric(probabilities, ground_truth, multilabel=True).compute()
    scores, labels = torch.from_numpy(probabilities), torch.from_numpy(ground_truth)
    assert metrics["map"] == pytest.approx(multilabel_average_precision(scores, labels, 4).item())
    assert metrics["f1"] == pytest.approx(multilabel_f1_score(scores, labels, 4).item())
    assert metrics["accuracy"] == pytest.approx(multilabel_accuracy(scores, labels, 4).item())


@pytest.mark.parametrize("multilabel", [False, True])
def test_reset_forgets(multilabel: bool) -> None:
    ground_truth = np.asarray([1]) if not multilabel else np.asarray([[0, 1]])
    metric = _metric(np.asarray([[0.2, 0.8]], dtype=np.float32), ground_truth, multilabel)
    assert metric.compute()["accuracy"] == 1
    metric.reset()
    assert metric.compute() == {}


def test_wrong_labels_are_told() -> None:
    with pytest.raises(DataError, match="label 2 is not a class id: there are 2 classes"):
        _metric(np.eye(2, dtype=np.float32)[:1], np.asarray([2]))
    with pytest.raises(DataError, match=r"must be \(2,\) of 0 and 1"):
        _metric(np.eye(2, dtype=np.float32)[:1], np.asarray([[0, 3]]), multilabel=True)
