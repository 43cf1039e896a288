"""Losses of points, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vertebra.geometry.heatmaps import gaussian_maps
from vertebra.losses.keypoints import bin_term, heatmap_term, residual_likelihood_term


def test_a_blank_map_costs_one_whatever_its_size() -> None:
    for size in (24, 56):
        ground_truth = gaussian_maps(torch.tensor([[size / 2, size / 2]] * 3), size, size, 2.0)
        known = torch.tensor([True, True, False])
        term = heatmap_term(torch.zeros(3, size, size), ground_truth, known, 2.0)
        assert float(term.mean()) == pytest.approx(1, abs=1e-3) and float(term.count) == 2


def test_heat_error_by_hand() -> None:
    maps, ground_truth = torch.tensor([[[0.5, 0.0]], [[9.0, 9.0]]]), torch.tensor([[[1.0, 0.2]], [[0.0, 0.0]]])
    term = heatmap_term(maps, ground_truth, torch.tensor([True, False]), sigma=1.0)
    assert float(term.sum) == pytest.approx((0.25 + 0.04) / math.pi)


def test_bins_by_hand() -> None:
    ground_truth = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0, 0]])
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    term = bin_term(logits, ground_truth, torch.tensor([True, True]))
    assert float(term.sum) == pytest.approx(0.5 * math.log(0.5 / 0.25) + math.log(1 / 0.1))
    assert float(
        bin_term(ground_truth[:1].log().clamp(min=-50), ground_truth[:1], torch.tensor([True])).sum
    ) == pytest.approx(0)
    assert float(bin_term(logits, ground_truth, torch.tensor([False, False])).sum) == 0


def test_likelihood_by_hand() -> None:
    """With a learned density that is the standard normal distribution."""

    def normal(error: torch.Tensor) -> torch.Tensor:
        return -0.5 * error.pow(2).sum(dim=-1) - math.log(2 * math.pi)

    points = torch.tensor([[0.5, 0.5], [0.0, 0.0]], requires_grad=True)
    sigma = torch.tensor([[0.1, 0.2], [1e-3, 1e-3]], requires_grad=True)
    ground_truth = torch.tensor([[0.6, 0.3], [1e6, 1e6]])
    term = residual_likelihood_term(points, sigma, ground_truth, torch.tensor([True, False]), normal)
    laplace = 1 + math.log(0.2) + 1 + math.log(0.4)
    gauss = math.log(0.1) + math.log(0.2) + 0.5 * 2 + math.log(2 * math.pi)
    assert float(term.sum.detach()) == pytest.approx(laplace + gauss, rel=1e-5) and float(term.count) == 1
    term.sum.backward()
    assert points.grad is not None and sigma.grad is not None
    # x is too small by one sigma: both densities pull, by 1 and by 1 error over sigma
    assert float(points.grad[0, 0]) == pytest.approx(-2 / 0.1, rel=1e-4)
    assert points.grad[1].tolist() == [0, 0] and bool((sigma.grad[1] == 0).all())


def test_sigma_comes_to_rest_at_the_size_of_the_errors() -> None:
    """The Laplace distribution alone is likeliest at a sigma of the mean absolute error, the normal one at the root mean
    square; together they rest between them."""
    errors = torch.randn(4000, 1, 2)
    raw = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(150):
        known = torch.ones(4000, 1, dtype=torch.bool)
        term = residual_likelihood_term(
            torch.zeros_like(errors),
            (raw - 1).exp().expand(4000, 1, 2),
            errors,
            known,
            lambda error: -0.5 * error.pow(2).sum(dim=-1),
        )
        optimizer.zero_grad()
        term.mean().backward()
        optimizer.step()
    assert math.sqrt(2 / math.pi) - 0.02 < float((raw.detach() - 1).exp()) < 1.02
