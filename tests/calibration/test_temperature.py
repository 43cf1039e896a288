"""Temperatures: fitted to known ones, and the same in the model as in the fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vertebra.calibration.temperature import fit_temperature, tempered, tempered_score
from vertebra.tasks.classify.targets import ClassifyDecoded
from vertebra.tasks.detect.targets import DetectDecoded
from vertebra.tasks.object_scores import class_confidences, decision_confidences
from vertebra.tasks.temperature import temper_classes, temper_scores


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_temperature_of_drawn_classes_is_known_again() -> None:
    draw = np.random.default_rng(0)
    logits = 2 * draw.normal(size=(20_000, 4))
    right = (softmax(logits).cumsum(axis=1) < draw.uniform(size=(20_000, 1))).sum(axis=1)
    fitted = fit_temperature(class_confidences(softmax(3 * logits), right), decisions=False)
    assert fitted.temperature == pytest.approx(3, rel=0.03) and fitted.rows == 20_000
    assert fitted.ece_after < 0.01 < 0.1 < fitted.ece_before and fitted.nll_after < fitted.nll_before


def test_the_temperature_of_drawn_decisions_is_known_again() -> None:
    draw = np.random.default_rng(1)
    logits = 2 * draw.normal(size=20_000)
    right = draw.uniform(size=20_000) < 1 / (1 + np.exp(-logits))
    fitted = fit_temperature(decision_confidences(1 / (1 + np.exp(-logits / 2)), right), decisions=True)
    assert fitted.temperature == pytest.approx(0.5, rel=0.03) and fitted.ece_after < fitted.ece_before


def test_a_fit_without_a_mistake_stays_in_range() -> None:
    fitted = fit_temperature(class_confidences(np.array([[0.9, 0.1], [0.0, 1.0]]), np.array([0, 1])), decisions=False)
    assert fitted.temperature == 0.05 and fitted.ece_after == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 2.5, 20.0])
def test_the_model_rescales_as_logits_divided_by_the_temperature(temperature: float) -> None:
    logits = torch.tensor([[3.0, -2.0, 0.5], [30.0, 1.0, -40.0]], dtype=torch.float64)
    decoded = temper_classes(ClassifyDecoded(logits.softmax(dim=1)), False, temperature)
    assert torch.allclose(decoded.probabilities, (logits / temperature).softmax(dim=1), atol=1e-9)
    np.testing.assert_allclose(decoded.probabilities.numpy(), tempered(logits.softmax(dim=1).numpy(), temperature))
    decoded = temper_classes(ClassifyDecoded(logits.sigmoid()), True, temperature)
    assert torch.allclose(decoded.probabilities, (logits / temperature).sigmoid(), atol=1e-4)
    boxes: Any = DetectDecoded(
        torch.zeros(1, 4, 4), torch.tensor([[1.0, 0.8, 0.5, 0.0]]), torch.zeros(1, 4), torch.tensor([3])
    )
    scores = temper_scores(boxes, temperature).scores[0].tolist()
    assert scores[0] == 1 and scores[2:] == [0.5, 0.0] and scores[1] == pytest.approx(tempered_score(0.8, temperature))


def test_many_classes_do_not_vanish_in_powers() -> None:
    even = torch.full((1, 1000), 1e-3)
    assert torch.allclose(temper_classes(ClassifyDecoded(even), False, 0.05).probabilities, even)
