"""What rectangles of a map hold, by maps whose values are the coordinates."""

from __future__ import annotations

import pytest
import torch

from vertebra.errors import IncompatiblePartsError
from vertebra.features import FeatureSpec, Level
from vertebra.layers.roi import (
    FusedLevels,
    list_areas,
    listed_features,
    region_features,
    sampled_features,
    summed_features,
)


def coordinate_map(height: int, width: int, stride: int) -> torch.Tensor:
    """(1, 2, h, w): x and y of each cell's middle, in pixels."""
    x = (torch.arange(width) + 0.5) * stride
    y = (torch.arange(height) + 0.5) * stride
    return torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)])[None]


@pytest.mark.parametrize("stride", [4, 8])
def test_cells_hold_the_coordinates_of_their_middles(stride: int) -> None:
    maps = coordinate_map(64 // stride, 96 // stride, stride).repeat(2, 1, 1, 1)
    maps[1] += 1000
    areas = torch.tensor([[[10.0, 12, 34, 44], [40, 20, 46, 23]]]).repeat(2, 1, 1)
    found = region_features(maps, stride, areas, (4, 6))
    assert found.shape == (4, 2, 4, 6)
    # 24 pixels in 6 cells: the first one's middle is at 10 + 2; 32 pixels in 4 cells: at 12 + 4
    torch.testing.assert_close(found[0, 0], (12.0 + 4 * torch.arange(6)).expand(4, 6))
    torch.testing.assert_close(found[0, 1], (16.0 + 8 * torch.arange(4))[:, None].expand(4, 6))
    torch.testing.assert_close(found[1, 0, 0], 40.5 + torch.arange(6.0))
    torch.testing.assert_close(found[2:], found[:2] + 1000)


def test_points_are_the_centers_of_cells() -> None:
    maps = coordinate_map(16, 24, 4).repeat(2, 1, 1, 1)
    maps[1] += 1000
    areas = torch.tensor([[[10.0, 12, 34, 44], [-8, 20, 8, 24]]]).repeat(2, 1, 1)
    found = sampled_features(maps, 4, areas, 4)
    assert found.shape == (4, 2, 4, 4)
    torch.testing.assert_close(found[0, 0], (13.0 + 6 * torch.arange(4)).expand(4, 4))
    torch.testing.assert_close(found[0, 1], (16.0 + 8 * torch.arange(4))[:, None].expand(4, 4))
    torch.testing.assert_close(
        found[1, 0, 0], torch.tensor([2.0, 2, 2, 6])
    )  # beside the map: its edge, the first cell's center
    torch.testing.assert_close(found[2:], found[:2] + 1000)


def test_outside_the_map_there_is_nothing() -> None:
    found = region_features(torch.ones(1, 1, 4, 4), 8, torch.tensor([[[-64.0, 0, 64, 32]]]), (2, 4))
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 0, 1, 0]] * 2))


def test_levels_are_added_over_their_pixels() -> None:
    spec = FeatureSpec((Level(2, 4), Level(2, 8)))
    levels = FusedLevels(spec, (0, 1), 2)
    for conv in levels.projections:
        conv.weight.data = torch.eye(2)[:, :, None, None]
    maps = (coordinate_map(9, 11, 4), coordinate_map(5, 6, 8))
    areas = torch.tensor([[[10.0, 12, 28, 24]]])
    inside = levels.inside(maps, areas, (2, 2))
    torch.testing.assert_close(inside[0, 0], 2 * torch.tensor([[14.5, 23.5]] * 2))
    torch.testing.assert_close(inside[0, 1], 2 * torch.tensor([[15.0, 15], [21, 21]]))
    whole = levels(maps)
    assert whole.shape == (1, 2, 9, 11)
    torch.testing.assert_close(whole[0, :, 3:6, 3:8], 2 * maps[0][0, :, 3:6, 3:8])


def test_strides_that_do_not_fit_are_refused() -> None:
    with pytest.raises(IncompatiblePartsError, match="strides that divide each other"):
        FusedLevels(FeatureSpec((Level(2, 4), Level(2, 14))), (0, 1), 2)


@pytest.mark.parametrize("half_pixel", [True, False])
def test_sums_say_what_the_kernel_says(half_pixel: bool) -> None:
    """Areas on two levels, some of them beyond the image, one empty, one larger than its map, one turned inside out."""
    torch.manual_seed(0)
    maps, strides = [torch.randn(2, 5, 20, 30), torch.randn(2, 5, 7, 9).to(memory_format=torch.channels_last)], [4, 16]
    corner = torch.rand(2, 40, 2) * torch.tensor([160.0, 120.0]) - 20
    areas = torch.cat([corner, corner + 100 * torch.rand(2, 40, 2)], dim=-1)
    areas[0, :3] = torch.tensor([[0.0, 0, 0, 0], [-300, -300, 900, 900], [50, 50, 20, 10]])
    listed, numbers = list_areas(areas), torch.randint(0, 2, (80,))
    expected = torch.stack(
        [
            listed_features(maps[number], strides[number], listed[row : row + 1], (3, 2), half_pixel=half_pixel)[0]
            for row, number in enumerate(numbers.tolist())
        ]
    )
    found = summed_features(maps, strides, listed, numbers, (3, 2), half_pixel=half_pixel)
    assert found.shape == (80, 5, 3, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
