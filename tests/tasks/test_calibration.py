"""Calibration, equal to numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.tasks.calibration import BINS, bin_totals, expected_calibration_error, reliability_chart


def test_bins_and_error_by_hand() -> None:
    confidence = np.array([0.0, 1 / 15, 0.07, 0.95, 1.0])
    totals = bin_totals(confidence, np.array([False, False, True, True, False]))
    assert totals.shape == (3, BINS) and totals[0].tolist() == [2, 1, *[0] * 12, 2], "a bin includes its upper end"
    assert totals[1, -1] == pytest.approx(1.95) and totals[2, -1] == 1
    expected = (1 / 15 + (1 - 0.07) + (1.95 - 1)) / 5
    assert expected_calibration_error(totals) == pytest.approx(expected)
    chart = reliability_chart(totals, "probability", "share of right images")
    assert chart.diagonal and f"ECE, {BINS} bins): {expected:.3f}" in chart.text
    assert chart.curves[0].x == pytest.approx([1 / 30, 0.07, 0.975]) and chart.curves[0].y.tolist() == [0, 1, 0.5]


def test_totals_add_up_and_may_be_empty() -> None:
    draw = np.random.default_rng(0)
    confidence, right = draw.random(100), draw.random(100) < 0.5
    parts = bin_totals(confidence[:40], right[:40]) + bin_totals(confidence[40:], right[40:])
    assert np.allclose(parts, bin_totals(confidence, right))
    empty = bin_totals(np.zeros(0), np.zeros(0, dtype=bool))
    assert expected_calibration_error(empty) == 0 and not len(reliability_chart(empty, "a", "b").curves[0].x)


def test_the_text_names_the_direction() -> None:
    over = bin_totals(np.array([0.9, 0.9]), np.array([True, False]))
    assert "0.400 above" in reliability_chart(over, "probability", "share").text
    under = bin_totals(np.array([0.6, 0.6]), np.array([True, True]))
    assert "0.400 below" in reliability_chart(under, "probability", "share").text
