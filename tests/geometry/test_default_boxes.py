"""Default boxes against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from vertebra.geometry.default_boxes import default_boxes, default_ratios, default_scales, default_shapes


def test_by_hand() -> None:
    """A cell in the middle of a canvas 40 wide and 20 high: a half of it, the geometric mean of that and all, and 2 to 1."""
    shapes = default_shapes([0.5, 1.0], [[4.0]])
    found = default_boxes([torch.zeros(1, 1, 1, 1)], [20], shapes, (20, 40), even=True)
    side = 0.5**0.5
    expected = [
        [10, 5, 30, 15],
        [20 - 20 * side, 10 - 10 * side, 20 + 20 * side, 10 + 10 * side],
        [0, 7.5, 40, 12.5],
        [15, 0, 25, 20],
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("even", [False, True])
def test_equal_to_torchvision(even: bool) -> None:
    sizes, strides, canvas = [(25, 38), (13, 19), (7, 10), (4, 5)], [8, 16, 32, 64], (200, 304)
    maps = [torch.zeros(1, 1, *size) for size in sizes]
    scales, ratios = default_scales(4), default_ratios(4)
    theirs = DefaultBoxGenerator(ratios, scales=list(scales), steps=None if even else strides)  # type: ignore[arg-type]
    expected = theirs(ImageList(torch.zeros(1, 3, *canvas), [canvas]), maps)[0]
    torch.testing.assert_close(
        default_boxes(maps, strides, default_shapes(scales, ratios), canvas, even=even), expected
    )


def test_scales_and_ratios_of_six_levels_are_the_published_ones() -> None:
    assert default_scales(6) == pytest.approx((0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05))
    assert default_ratios(6) == [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    for levels in range(1, 8):
        assert len(default_scales(levels)) == levels + 1 and list(default_scales(levels)) == sorted(
            default_scales(levels)
        )
