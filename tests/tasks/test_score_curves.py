"""Precision, recall and F1 over score thresholds, equal to numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision

from vertebra.tasks.score_curves import (
    GRID,
    MAX_CURVES,
    best_thresholds,
    coco_average_precision,
    curve_of_histograms,
    f1_chart,
    precision_recall_chart,
    score_curve,
)


def test_a_curve_by_hand() -> None:
    curve = score_curve(np.array([0.2, 0.9, 0.6, 0.6]), np.array([False, True, True, False]), 3)
    assert curve.scores.tolist() == [0.9, 0.6, 0.2], "equal scores count together"
    assert curve.precision == pytest.approx([1, 2 / 3, 2 / 4])
    assert curve.recall == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert curve.f1 == pytest.approx([1 / 2, 2 / 3, 4 / 7])
    assert curve.row == 1 and curve.threshold == pytest.approx(0.4), "midway between 0.6 and 0.2"
    assert curve.average_precision == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert curve.f1_at(np.array([0.1, 0.2, 0.4, 0.6, 0.61, 0.9, 0.95])) == pytest.approx(
        [4 / 7, 4 / 7, 2 / 3, 2 / 3, 1 / 2, 1 / 2, 0]
    )
    assert curve.interpolated_precision(np.array([0, 1 / 3, 0.5, 2 / 3, 0.9])) == pytest.approx([1, 1, 2 / 3, 2 / 3, 0])


@pytest.mark.parametrize("scores", [[], [0.5, 0.4]])
def test_without_a_right_prediction_there_is_no_threshold(scores: list[float]) -> None:
    curve = score_curve(np.array(scores), np.zeros(len(scores), dtype=bool), 0)
    assert curve.row is None and curve.threshold is None and curve.average_precision == 0
    assert best_thresholds(["a"], [curve]) == {}
    assert not f1_chart(["a"], [curve], "").curves and not precision_recall_chart(["a"], [curve], "").curves


def test_average_precision_equals_torchmetrics() -> None:
    draw = np.random.default_rng(0)
    scores, right = draw.random(200).round(2), draw.random(200) < 0.4
    ours = score_curve(scores, right, int(right.sum())).average_precision
    theirs = binary_average_precision(torch.from_numpy(scores), torch.from_numpy(right).long())
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_coco_average_precision_by_hand() -> None:
    assert coco_average_precision(np.array([True, False, True]), 2) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert coco_average_precision(np.array([True]), 2) == pytest.approx(51 / 101), "0 beyond the reached recall"
    assert coco_average_precision(np.zeros(0, dtype=bool), 2) == coco_average_precision(np.array([True]), 0) == 0


def test_histograms_give_the_curve_of_their_scores() -> None:
    right, wrong = np.array([0, 1, 0, 2]), np.array([3, 1, 0, 0])
    scores = np.repeat([0.125, 0.375, 0.875], [3, 2, 2])
    labels = np.array([0, 0, 0, 1, 0, 1, 1], dtype=bool)
    expected, curve = score_curve(scores, labels, 3), curve_of_histograms(right, wrong, 3)
    assert curve.average_precision == pytest.approx(expected.average_precision)
    assert curve.f1.max() == pytest.approx(expected.f1.max()) and curve.threshold == pytest.approx(0.25), (
        "the edge of the bin"
    )


def test_charts_mark_the_best_threshold() -> None:
    first = score_curve(np.array([0.9, 0.3]), np.array([True, False]), 1)
    second = score_curve(np.array([0.9, 0.3]), np.array([False, True]), 1)
    chart = precision_recall_chart(["a", "b"], [first, second], "")
    assert [curve.name for curve in chart.curves] == ["a", "b"]
    assert [curve.mark for curve in chart.curves] == [(1.0, 1.0), (1.0, 0.5)]
    assert np.allclose(chart.curves[1].y, 0.5)
    f1 = f1_chart(["a", "b"], [first, second], "")
    assert f1.curves[0].mark == (pytest.approx(0.6), 1.0)
    assert f1.curves[0].y[[0, 30, 31, 90, 91]] == pytest.approx([2 / 3, 2 / 3, 1, 1, 0]) and len(GRID) == 101


def test_of_many_classes_the_worst_are_shown() -> None:
    curves = [score_curve(np.array([0.5]), np.array([True]), row + 1) for row in range(MAX_CURVES + 5)]
    chart = f1_chart([str(row) for row in range(len(curves))], curves, "")
    assert len(chart.curves) == MAX_CURVES and chart.curves[0].name == str(len(curves) - 1)
    assert f"{MAX_CURVES} of {len(curves)} classes" in chart.text
