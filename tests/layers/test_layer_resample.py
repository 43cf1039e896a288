"""From coarse to fine: hand-computed values, odd sizes, and cells that stay over their pixels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.layers.resample import ceil_divided, crop, fit_to, upsample, upsample_like


def test_nearest_repeats_each_cell_and_crops_right_and_bottom() -> None:
    coarse = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    out = upsample_like(coarse, torch.zeros(1, 9, 3, 3), 2)
    assert out[0, 0].tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4]]


def test_bilinear_by_hand() -> None:
    # cells of 2 pixels, centers at 1 and 3: pixel centers at .5, 1.5, 2.5 lie a quarter off them
    out = upsample_like(torch.tensor([[[[0.0, 4.0]]]]), (1, 3), 2, "bilinear")
    assert out.flatten().tolist() == [0.0, 1.0, 3.0]


def test_a_map_or_its_size_say_the_same() -> None:
    coarse, fine = torch.randn(2, 3, 4, 3), torch.zeros(2, 5, 7, 5)
    assert torch.equal(upsample_like(coarse, fine, 2), upsample_like(coarse, (7, 5), 2))
    assert torch.equal(upsample(coarse, 1), coarse)


@pytest.mark.parametrize("canvas", [(64, 64), (97, 65), (33, 100)])
@pytest.mark.parametrize("stride", [4, 8, 32])
def test_cells_stay_over_their_pixels_where_resizing_would_move_them(canvas: tuple[int, int], stride: int) -> None:
    rows = math.ceil(canvas[0] / stride)
    centers = (torch.arange(rows) + 0.5) * stride  # of each cell, in pixels
    logits = centers[None, None, :, None].expand(1, 1, rows, math.ceil(canvas[1] / stride))
    out = fit_to(logits, canvas, stride)
    assert out.shape[-2:] == canvas
    pixels = torch.arange(canvas[0]) + 0.5
    inner = (pixels >= centers[0]) & (pixels <= centers[-1])
    torch.testing.assert_close(out[0, 0, inner, 0], pixels[inner])
    if canvas[0] % stride:
        stretched = F.interpolate(logits, size=canvas, mode="bilinear", align_corners=False)
        assert (stretched[0, 0, inner, 0] - pixels[inner]).abs().max() > 0.5


class ToCanvas(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        coarse = images[..., ::8, ::8]
        fine = images[..., ::4, ::4]
        return fit_to(upsample_like(coarse, fine, 2) + fine, (images.shape[-2], images.shape[-1]), 4)


@pytest.mark.parametrize("canvas", [(97, 65), (64, 64), (40, 41)])
def test_exports_with_free_batch_height_and_width(canvas: tuple[int, int]) -> None:
    free = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=16), 3: torch.export.Dim("w", min=16)}
    program = torch.export.export(ToCanvas(), (torch.randn(2, 1, 65, 50),), dynamic_shapes=(free,))
    images = torch.randn(3, 1, *canvas)
    torch.testing.assert_close(program.module()(images), ToCanvas()(images))


class Cells(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(*(ceil_divided(ceil_divided(side, 2), 3) for side in images.shape))


@pytest.mark.filterwarnings("ignore::UserWarning:torch.onnx")
def test_lengths_are_rounded_up_in_an_exported_graph_too() -> None:
    """ONNX divides towards zero: with ``-(-length // by)`` an odd length would be short of a cell."""
    pytest.importorskip("onnxscript")
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        Cells().eval(), (torch.zeros(9, 24),), dynamo=True, dynamic_shapes=({0: free, 1: free},), verbose=False
    )
    assert program is not None
    for rows, columns in ((9, 24), (7, 13), (1, 6), (18, 19)):
        (found,) = program(torch.zeros(rows, columns))
        assert found.shape == (math.ceil(rows / 6), math.ceil(columns / 6))


def test_the_crop_is_the_top_left_and_carries_gradients_there_only() -> None:
    maps = torch.arange(12.0).reshape(1, 1, 3, 4).requires_grad_()
    out = crop(maps, 2, 3)
    assert out[0, 0].tolist() == [[0, 1, 2], [4, 5, 6]]
    out.sum().backward()
    assert maps.grad is not None
    assert maps.grad[0, 0].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]


def test_a_map_that_does_not_cover_is_refused() -> None:
    with pytest.raises(ValueError, match=r"maps of \(4, 4\) cells do not cover \(5, 4\)"):
        upsample_like(torch.zeros(1, 1, 2, 2), (5, 4), 2)
