"""Losses of whole images, beside torch's own means and hand-made numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vertebra.losses.classification import binary_cross_entropy, cross_entropy


def test_cross_entropy_is_a_sum_with_its_count() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    term = cross_entropy(logits, labels)
    assert float(term.count) == 5
    torch.testing.assert_close(term.mean(), F.cross_entropy(logits, labels))
    halves = [cross_entropy(logits[rows], labels[rows]) for rows in (slice(0, 1), slice(1, 5))]
    torch.testing.assert_close((halves[0].sum + halves[1].sum) / 5, term.mean())


def test_smoothing_spreads_the_truth() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    log = logits.log_softmax(1)[0]
    torch.testing.assert_close(cross_entropy(logits, torch.tensor([0]), 0.2).sum, -(0.9 * log[0] + 0.1 * log[1]))


def test_probabilities_weight_the_classes() -> None:
    logits = torch.randn(3, 4)
    labels, other = torch.tensor([0, 3, 1]), torch.tensor([2, 2, 1])
    mixed = 0.3 * F.one_hot(labels, 4) + 0.7 * F.one_hot(other, 4)
    for smoothing in (0.0, 0.1):
        term = cross_entropy(logits, mixed, smoothing)
        expected = (
            0.3 * cross_entropy(logits, labels, smoothing).sum + 0.7 * cross_entropy(logits, other, smoothing).sum
        )
        torch.testing.assert_close(term.sum, expected)
        assert float(term.count) == 3


def test_binary_cross_entropy_means_over_classes() -> None:
    logits, labels = torch.randn(4, 3), torch.randint(0, 2, (4, 3))
    term = binary_cross_entropy(logits, labels)
    assert float(term.count) == 4
    torch.testing.assert_close(term.mean(), F.binary_cross_entropy_with_logits(logits, labels.float()))
    at_zero = binary_cross_entropy(torch.zeros(1, 1), torch.ones(1, 1), 1.0)
    torch.testing.assert_close(at_zero.sum, torch.tensor(2.0).log())


def test_no_image_counts_nothing() -> None:
    term = cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert float(term.count) == 0 and float(term.mean()) == 0
