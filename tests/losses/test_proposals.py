"""Losses of samples of anchors and regions."""

from __future__ import annotations

import math

import pytest
import torch

from vertebra.losses.proposals import objectness_term, region_class_term


def test_losses_by_hand() -> None:
    counted = torch.tensor([[True, True, False]])
    term = objectness_term(torch.tensor([[0.0, 2.0, 9.0]]), torch.tensor([[True, False, False]]), counted)
    assert float(term.sum) == pytest.approx(math.log(2) + math.log(1 + math.exp(2))) and float(term.count) == 2
    logits = torch.tensor([[[0.0, 0.0, math.log(2)], [0, 0, 0], [5, 0, 0]]])
    term = region_class_term(logits, torch.tensor([[2, 0, 1]]), counted)
    assert float(term.sum) == pytest.approx(-math.log(2 / 4) + math.log(3)) and float(term.count) == 2
