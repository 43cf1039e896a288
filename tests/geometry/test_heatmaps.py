"""Heat and back again: Gaussian maps, their peaks, and bins."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vertebra.geometry.heatmaps import find_coordinates, find_peaks, gaussian_bins, gaussian_maps


def test_a_gaussian_by_hand() -> None:
    maps = gaussian_maps(torch.tensor([[1.5, 0.5], [1.75, 1.0]]), 2, 3, sigma=1.0)
    assert maps.shape == (2, 2, 3)
    near = math.exp(-0.5)
    torch.testing.assert_close(maps[0], torch.tensor([[near, 1, near], [near**2, near, near**2]]))
    # the middle of the cell in row 0, column 2 is (2.5, 0.5): 0.75 to the right of the point and 0.5 above it
    torch.testing.assert_close(maps[1, 0, 2], torch.tensor(math.exp(-(0.75**2 + 0.5**2) / 2)))


@pytest.mark.parametrize("place", [(24.5, 30.5), (24.81, 30.27), (24.02, 30.98)])
def test_a_peak_in_the_middle_is_found_to_a_fraction_of_a_cell(place: tuple[float, float]) -> None:
    maps = gaussian_maps(torch.tensor(place), 64, 48, sigma=2.0)
    found, height = find_peaks(maps, 2.0)
    torch.testing.assert_close(found, torch.tensor(place), atol=1e-3, rtol=0)
    assert 0.9 < float(height) <= 1


@given(st.floats(0, 1), st.floats(0, 1), st.integers(3, 40), st.integers(3, 40), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_points_survive_the_way_to_heat_and_back(x: float, y: float, height: int, width: int, sigma: float) -> None:
    """Anywhere on the map: at its edges too, where heat is cut off."""
    place = torch.tensor([x * width, y * height])
    found, _ = find_peaks(gaussian_maps(place, height, width, sigma), sigma)
    assert float((found - place).abs().max()) < 0.05


def test_noise_moves_a_smoothed_peak_little() -> None:
    place = torch.tensor([20.3, 17.6]).expand(64, 2)
    maps = gaussian_maps(place, 40, 40, 2.0)
    found, _ = find_peaks(maps + 0.03 * torch.randn_like(maps), 2.0)
    assert float((found - place).norm(dim=1).mean()) < 0.25


def test_a_flat_or_a_negative_map_has_its_peak_at_a_cell() -> None:
    flat, height = find_peaks(torch.zeros(2, 5, 7), 2.0)
    torch.testing.assert_close(flat, torch.tensor([[0.5, 0.5]] * 2))
    assert height.tolist() == [0, 0]
    rough = -torch.rand(3, 9, 9) - 0.1
    found, height = find_peaks(rough, 1.0)
    best = rough.flatten(1).argmax(dim=1)
    cells = torch.stack([best % 9, best // 9], dim=1) + 0.5
    assert float((found - cells).abs().max()) <= 1
    assert bool((height < 0).all()) and bool(torch.isfinite(found).all())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 1), (2, 2)])
def test_maps_of_a_cell_or_two(height: int, width: int) -> None:
    found, _ = find_peaks(gaussian_maps(torch.tensor([[width / 2, height / 2]]), height, width, 2.0), 2.0)
    assert float((found - torch.tensor([[width / 2, height / 2]])).abs().max()) <= 1


def test_bins_by_hand() -> None:
    heat = gaussian_bins(torch.tensor([1.5, 1.0]), 3, sigma=1.0)
    near = math.exp(-0.5)
    torch.testing.assert_close(heat[0], torch.tensor([near, 1, near]) / (1 + 2 * near))
    assert float(heat[1, 0]) == pytest.approx(float(heat[1, 1])) and float(heat[1].sum()) == pytest.approx(1)


def test_a_point_beyond_the_ends_means_the_last_bin() -> None:
    heat = gaussian_bins(torch.tensor([-7.0, 99.0]), 8, sigma=2.0)
    assert heat.argmax(dim=1).tolist() == [0, 7]
    torch.testing.assert_close(heat.sum(dim=1), torch.ones(2))


@given(st.floats(0, 64), st.sampled_from([1.0, 2.0, 3.0]))
def test_coordinates_survive_the_way_to_bins_and_back(place: float, sigma: float) -> None:
    heat = gaussian_bins(torch.tensor(place), 64, sigma)
    soft, score = find_coordinates(heat, sigma)
    hard, _ = find_coordinates(heat, sigma, soft=False)
    assert abs(float(hard) - place) <= 0.5 + 1e-4
    if 4 * sigma < place < 64 - 4 * sigma:
        assert abs(float(soft) - place) < 0.05
        assert float(score) == pytest.approx(1, abs=0.15)
    else:
        assert abs(float(soft) - place) <= 0.5 + 1e-4


def test_an_unsure_distribution_has_a_low_score() -> None:
    _, score = find_coordinates(torch.full((64,), 1 / 64), 2.0)
    assert float(score) == pytest.approx(2.0 * math.sqrt(2 * math.pi) / 64)
