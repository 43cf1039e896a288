"""Deformable attention: what is read where, by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vertebra.layers.deformable import DeformableAttention

SHAPES = [(2, 4), (1, 2)]


def plain(points: int | list[int] = 1, **options: Any) -> DeformableAttention:
    """One head that hands values through and reads its points where the reference is."""
    layer = DeformableAttention(1, 1, 2, points, **options)
    with torch.no_grad():
        for linear in (layer.values, layer.out):
            linear.weight.fill_(1.0)
        nn.init.zeros_(layer.offsets.bias)
    return layer


def read(layer: DeformableAttention, reference: Tensor, hidden: Tensor | None = None) -> Tensor:
    """The first level holds 0 to 7, the second 100 and 200."""
    values = torch.cat([torch.arange(8.0), torch.tensor([100.0, 200.0])])[None, :, None]
    with torch.no_grad():
        out: Tensor = layer(torch.zeros(1, reference.shape[1], 1), reference, values, SHAPES, hidden)
    return out[0, :, 0]


def test_the_middle_of_a_cell_is_the_cell() -> None:
    """The third cell of the first level's second row holds 6, the second level's last cell 200; each weighs a half."""
    place = torch.tensor([[[[2.5 / 4, 0.75], [0.75, 0.5]]]])
    torch.testing.assert_close(read(plain(), place), torch.tensor([0.5 * (6 + 200)]))


def test_discrete_reading_rounds_to_upper_left_corners() -> None:
    """As RT-DETRv2 was published: the cell whose upper left corner is nearest; beyond the map the last one."""
    near = torch.tensor([[[[2.4 / 4, 0.6 / 2], [0.7 / 2, 0.1]], [[2.6 / 4, 0.4 / 2], [9.0, 9.0]]]])
    torch.testing.assert_close(read(plain(method="discrete"), near), torch.tensor([0.5 * (6 + 200), 0.5 * (3 + 200)]))


def test_between_cells_and_beyond_the_map() -> None:
    between = torch.tensor([[[[0.25, 0.25], [0.5, 0.5]], [[-1.0, 0.5], [0.25, 0.5]]]])
    torch.testing.assert_close(read(plain(), between), torch.tensor([0.5 * (0.5 + 150), 0.5 * (0 + 100)]))


def test_hidden_cells_read_as_nothing() -> None:
    place = torch.tensor([[[[0.125, 0.75], [0.25, 0.5]]]])
    hidden = torch.zeros(1, 10, dtype=torch.bool)
    hidden[0, 8] = True
    torch.testing.assert_close(read(plain(), place, hidden), torch.tensor([0.5 * 4]))


def test_points_lie_in_parts_of_the_box_or_of_a_cell() -> None:
    """An offset of one cell to the right; or of a box's half width, which here is two cells."""
    layer = plain()
    with torch.no_grad():
        layer.offsets.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
    points = torch.tensor([[[[0.125, 0.25], [0.25, 0.5]]]])
    torch.testing.assert_close(read(layer, points), torch.tensor([0.5 * (1 + 100)]))
    boxes = torch.tensor([[[[0.125, 0.25, 1.0, 0.3], [0.25, 0.5, 1.0, 0.3]]]])
    torch.testing.assert_close(read(layer, boxes), torch.tensor([0.5 * (2 + 100)]))


def test_levels_may_have_different_numbers_of_points() -> None:
    """Three points on the first level, one on the second: a quarter each."""
    place = torch.tensor([[[[0.125, 0.25], [0.25, 0.5]]]])
    torch.testing.assert_close(read(plain([3, 1]), place), torch.tensor([0.25 * 100]))


def test_heads_start_looking_in_different_directions() -> None:
    layer = DeformableAttention(8, 4, 2, 2)
    starts = layer.offsets.bias.detach().reshape(4, 4, 2)
    expected = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    torch.testing.assert_close(starts[:, 0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(starts[:, 3], 2 * expected, atol=1e-6, rtol=0)


def test_rounded_places_are_not_taught() -> None:
    assert not DeformableAttention(8, 4, 2, 2, method="discrete").offsets.weight.requires_grad
    assert DeformableAttention(8, 4, 2, 2).offsets.weight.requires_grad
