"""Samples of anchors and regions."""

from __future__ import annotations

import torch

from vertebra.matching.iou import Match
from vertebra.matching.sampling import sample


def match(positive: list[int], ignored: list[int]) -> Match:
    return Match(torch.tensor([positive]).bool(), torch.tensor([ignored]).bool(), torch.zeros(1, len(positive)).long())


def test_the_first_ones_in_order() -> None:
    positive, counted = sample(match([0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]), 4, 0.5, draw=False)
    assert positive.tolist() == [[False, True, True, False, False, False]]
    assert counted.tolist() == [[True, True, True, False, False, True]]


def test_negatives_fill_up_what_positives_leave() -> None:
    positive, counted = sample(match([1, 0, 0, 0, 0, 0], [0] * 6), 4, 0.5, draw=False)
    assert int(positive.sum()) == 1 and int(counted.sum()) == 4
    nothing, few = sample(match([0, 0], [1, 0]), 4, 0.5, draw=False)
    assert not nothing.any() and few.tolist() == [[False, True]]


def test_a_drawn_sample_differs_and_keeps_the_numbers() -> None:
    many = match([1] * 50 + [0] * 50, [0] * 100)
    first, second = (sample(many, 20, 0.5, draw=True) for _ in range(2))
    for positive, counted in (first, second):
        assert int(positive.sum()) == 10 and int(counted.sum()) == 20 and bool((positive <= counted).all())
    assert not torch.equal(first[1], second[1])
