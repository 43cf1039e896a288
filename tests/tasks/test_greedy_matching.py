"""Greedy matching, equal to a loop over the predictions from the best on."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.greedy_matching import argmax_by_group, match_by_rank


def loop(ranks: np.ndarray, count: int, pairs: np.ndarray, similarity: np.ndarray) -> list[int]:
    """COCO's loop: each prediction takes the most similar free object, of equal ones the last."""
    matches, free = [-1] * len(ranks), [True] * count
    for row in np.argsort(ranks):
        options = [
            (s, o) for (p, o), s in zip(pairs.tolist(), similarity.tolist(), strict=True) if p == row and free[o]
        ]
        if options:
            matches[row] = max(options)[1]
            free[matches[row]] = False
    return matches


def test_equal_to_a_loop() -> None:
    draw = np.random.default_rng(0)
    for _ in range(30):
        predictions, count = draw.integers(0, 12), draw.integers(1, 8)
        pairs = np.argwhere(draw.random((predictions, count)) < 0.5).reshape(-1, 2)
        similarity = draw.random(len(pairs)).round(1)  # with ties
        ranks = draw.permutation(predictions)
        assert match_by_rank(ranks, count, pairs, similarity).tolist() == loop(ranks, count, pairs, similarity)


def test_a_long_chain_of_dependent_matches() -> None:
    rows = np.arange(200)
    pairs = np.concatenate([np.stack([rows, rows], axis=1), np.stack([rows[1:], rows[1:] - 1], axis=1)])
    similarity = np.concatenate([np.full(200, 0.5), np.full(199, 0.9)])
    assert match_by_rank(rows, 200, pairs, similarity).tolist() == rows.tolist()


def test_the_largest_of_each_group() -> None:
    groups, values = np.array([2, 0, 2, 0, 2]), np.array([1.0, 5, 3, 5, 2])
    assert argmax_by_group(groups, values, 4).tolist() == [1, -1, 2, -1], (
        "the first of equal ones; -1 for an empty group"
    )
    assert argmax_by_group(groups[:0], values[:0], 2).tolist() == [-1, -1]
