"""Codes of where a cell is, and which cells show the image, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vertebra.features import Frame
from vertebra.layers.padding import nearest_valid_cells, valid_cells
from vertebra.layers.position_encoding import scaled_sine_position

LIKE = torch.zeros(())


def test_the_code_by_hand() -> None:
    """Two rows and three columns; the first half of the code tells the row, in pairs of sine and cosine."""
    code = scaled_sine_position(torch.ones(1, 2, 3, dtype=torch.bool), 8, LIKE)
    assert code.shape == (1, 6, 8)
    row, column = 2 * math.pi * 1 / 2, 2 * math.pi * 2 / 3  # the second cell of the first row
    expected = [wave(angle * scale) for angle in (row, column) for scale in (1, 0.01) for wave in (math.sin, math.cos)]
    torch.testing.assert_close(code[0, 1], torch.tensor(expected), atol=1e-5, rtol=0)


def test_the_code_is_of_the_image_and_not_of_its_padding() -> None:
    inside = torch.zeros(1, 5, 4, dtype=torch.bool)
    inside[:, :2, :3] = True
    padded = scaled_sine_position(inside, 16, LIKE).reshape(1, 5, 4, 16)[:, :2, :3]
    alone = scaled_sine_position(inside[:, :2, :3], 16, LIKE).reshape(1, 2, 3, 16)
    torch.testing.assert_close(padded, alone)


def test_a_place_has_one_code_on_all_maps_where_it_is_counted_to_the_middle() -> None:
    """The middle of a map of one cell is that of the middle one of three."""
    one, three = (torch.ones(1, 1, count, dtype=torch.bool) for count in (1, 3))
    centered = [scaled_sine_position(inside, 8, LIKE, centered=True) for inside in (one, three)]
    torch.testing.assert_close(centered[0][0, 0], centered[1][0, 1], atol=1e-4, rtol=0)
    edges = [scaled_sine_position(inside, 8, LIKE) for inside in (one, three)]
    assert not torch.allclose(edges[0][0, 0], edges[1][0, 1], atol=1e-2)


@pytest.mark.parametrize("canvas", [(97, 161), (64, 128), (33, 1333)])
def test_cells_by_the_nearest_pixel_are_those_of_a_shrunk_mask(canvas: tuple[int, int]) -> None:
    sizes = torch.stack(
        [torch.arange(1, canvas[0] + 1, 7), torch.arange(1, canvas[0] + 1, 7) * canvas[1] // canvas[0]], 1
    )
    sizes = sizes.clamp(min=1)
    maps = torch.zeros(len(sizes), 1, *(-(-side // 32) for side in canvas))
    mask = torch.zeros(len(sizes), 1, *canvas)
    for image, (height, width) in enumerate(sizes.tolist()):
        mask[image, :, :height, :width] = 1
    expected = torch.nn.functional.interpolate(mask, size=maps.shape[-2:])[:, 0] > 0
    assert torch.equal(nearest_valid_cells(Frame(canvas, sizes), maps, 32), expected)
    if canvas == (64, 128):
        assert torch.equal(expected, valid_cells(Frame(canvas, sizes), maps, 32))


def test_cells_beyond_the_canvas_show_nothing() -> None:
    """The backbone padded 33 pixels to 64, which are four cells: the last one sees nothing of the canvas."""
    inside = nearest_valid_cells(Frame((33, 33), torch.tensor([[33, 33]])), torch.zeros(1, 1, 4, 4), 16)
    assert inside[0, 0].tolist() == inside[0, :, 0].tolist() == [True, True, True, False]
