"""Which of the negative candidates count."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vertebra.losses.hard_negative_mining import hard_negatives, mined_class_term


def match(positive: list[list[bool]], ignored: list[list[bool]]) -> tuple[Tensor, Tensor]:
    return torch.tensor(positive), torch.tensor(ignored)


def test_hardest_by_hand() -> None:
    """Two for one positive in the first image, the ignored and the positive one aside; one positive's worth in the second."""
    loss = torch.tensor([[9.0, 1, 5, 7, 3, 8], [1, 2, 3, 4, 5, 6]])
    own = match(
        [[True, False, False, False, False, False], [False] * 6], [[False] * 5 + [True], [False] * 4 + [True, False]]
    )
    found = hard_negatives(loss, *own, 2.0)
    assert found.tolist() == [[False, False, True, True, False, False], [False, False, False, True, False, True]]


def test_term_by_hand() -> None:
    """Two classes and the background at logit 0 cost log 3 each: a positive one and three of four negatives."""
    own = match([[True, False, False, False, False]], [[False] * 5])
    term = mined_class_term(torch.zeros(1, 5, 3), torch.ones(1, 5).long(), *own, 3.0)
    assert math.isclose(term.sum.item(), 4 * math.log(3), rel_tol=1e-6) and term.count == 1


def test_only_what_counts_has_a_gradient() -> None:
    logits = torch.tensor([[[2.0, 0], [0, 0], [5, 0], [0, 9]]], requires_grad=True)
    own = match([[True, False, False, False]], [[False] * 4])
    mined_class_term(logits, torch.zeros(1, 4).long(), *own, 1.0).sum.backward()
    assert (logits.grad is not None) and (logits.grad.abs().sum(-1) > 0).tolist() == [[True, False, True, False]]
