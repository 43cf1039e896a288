"""Anchors and locations of feature maps."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from vertebra.geometry.anchors import (
    SPREAD_OCTAVES,
    anchor_shapes,
    level_anchors,
    level_numbers,
    level_shapes,
    octaves_for,
    sized_shapes,
)
from vertebra.geometry.points import cell_points, level_points


def test_points_by_hand() -> None:
    points = cell_points(2, 3, 8, device=torch.device("cpu"))
    assert points.tolist() == [[4.0, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_points_of_levels_are_told_apart() -> None:
    points, levels = level_points([torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1)], [8, 16])
    assert points.tolist() == [[4.0, 4], [12, 4], [8, 8]]
    assert levels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("stride", "height", "width"), [(8, 5, 7), (32, 3, 4)])
def test_anchors_equal_torchvision(stride: int, height: int, width: int) -> None:
    """torchvision puts an anchor's center at its cell's corner, and rounds to whole pixels (here they are whole)."""
    ratios, feature = (0.25, 1.0, 4.0), torch.zeros(1, 1, height, width)
    generator = AnchorGenerator(sizes=((4 * stride, 8 * stride),), aspect_ratios=(ratios,))
    canvas = (height * stride, width * stride)
    expected = generator(ImageList(torch.zeros(1, 3, *canvas), [canvas]), [feature])[0]
    shapes = level_shapes([stride], scale=4.0, octaves=(0.0, 1.0), aspect_ratios=ratios)
    torch.testing.assert_close(level_anchors([feature], [stride], shapes, offset=0.0), expected)
    rounded = sized_shapes([[4 * stride, 8 * stride]], ratios)
    torch.testing.assert_close(level_anchors([feature], [stride], rounded, offset=0.0), expected)


def test_anchors_of_given_sizes_are_rounded_as_torchvision_does_it() -> None:
    ratios, sizes, features = (
        (0.5, 1.0, 2.0),
        ((32, 40, 50), (64, 80, 101)),
        [torch.zeros(1, 1, 4, 6), torch.zeros(1, 1, 2, 3)],
    )
    generator = AnchorGenerator(sizes=sizes, aspect_ratios=(ratios,) * 2)
    expected = generator(ImageList(torch.zeros(1, 3, 32, 48), [(32, 48)]), features)[0]
    shapes = sized_shapes([list(own) for own in sizes], ratios)
    torch.testing.assert_close(level_anchors(features, [8, 16], shapes, offset=0.0), expected)
    assert level_numbers(features, 9).bincount().tolist() == [216, 54]


def test_anchors_stand_in_the_middle_of_their_cell() -> None:
    anchors = level_anchors([torch.zeros(1, 1, 1, 2)], [8], [[(32.0, 32.0)]])
    assert anchors.tolist() == [[-12.0, -12, 20, 20], [-4, -12, 28, 20]]


def test_ratio_keeps_the_area() -> None:
    (width, height), square = anchor_shapes(32, (0.0,), (4.0, 1.0))
    assert (width, height) == (16.0, 64.0)
    assert square == (32.0, 32.0)


@pytest.mark.parametrize(
    ("strides", "octaves"),
    [
        ((8, 16, 32), SPREAD_OCTAVES),
        ((8, 16, 32, 64, 128), SPREAD_OCTAVES),
        ((16, 32), (-1.0, -0.5, 0.0, 0.5, 1.0)),
        ((14,), (-2.0, -1.0, 0.0, 1.0, 2.0)),
    ],
)
def test_few_levels_get_more_sizes(strides: tuple[int, ...], octaves: tuple[float, ...]) -> None:
    assert octaves_for(strides) == octaves
