"""Pooling over grids: torch's own on full canvases, and blind to the canvas' padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vertebra.features import Frame
from vertebra.layers.pyramid_pooling import PyramidPooling, bin_shares, line_shares


def test_bins_by_hand() -> None:
    shares = bin_shares(torch.tensor([5, 2]), 6, 2)
    expected = [
        [[1 / 3, 1 / 3, 1 / 3, 0, 0, 0], [0, 0, 1 / 3, 1 / 3, 1 / 3, 0]],  # 5 cells: 0..2 and 2..4
        [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]],
    ]
    torch.testing.assert_close(shares, torch.tensor(expected))


def test_lines_by_hand() -> None:
    # 4 of 5 cells over 2 bins: centers of cells at .25, .75, 1.25, 1.75 bins, of bins at .5 and 1.5
    shares = line_shares(torch.tensor([4]), 5, 2, corners=False)[0]
    torch.testing.assert_close(shares[:, 1], torch.tensor([0, 0.25, 0.75, 1, 1]))
    shares = line_shares(torch.tensor([4]), 5, 2, corners=True)[0]
    torch.testing.assert_close(shares[:, 1], torch.tensor([0, 1 / 3, 2 / 3, 1, 1]))
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    assert line_shares(torch.tensor([1]), 2, 3, corners=True)[0].tolist() == [[1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("fit", ["stride", "corners"])
@pytest.mark.parametrize("cells", [(13, 9), (6, 12), (4, 2), (1, 1)])
def test_on_full_canvases_it_is_torchs_own(cells: tuple[int, int], fit: Any) -> None:
    pooling = PyramidPooling(5, 4, fit=fit).eval()
    maps = torch.randn(2, 5, *cells)
    frame = Frame((8 * cells[0], 8 * cells[1]), torch.tensor([[8 * cells[0] - 7, 8 * cells[1]]] * 2))
    for grid, conv, found in zip(pooling.grids, pooling.convs, pooling(maps, 8, frame), strict=True):
        small = conv(F.adaptive_avg_pool2d(maps, grid))
        torch.testing.assert_close(found, F.interpolate(small, cells, mode="bilinear", align_corners=fit == "corners"))


def test_padding_is_not_looked_at() -> None:
    pooling = PyramidPooling(3, 4, normalize_whole=False).eval()
    maps = torch.randn(1, 3, 7, 5)
    alone = pooling(maps, 8, Frame((56, 40), torch.tensor([[56, 40]])))
    wide = torch.cat([F.pad(maps, (0, 4, 0, 3), value=9.0), torch.randn(1, 3, 10, 9)])
    beside = pooling(wide, 8, Frame((80, 72), torch.tensor([[50, 33], [80, 72]])))
    for expected, found in zip(alone, beside, strict=True):
        torch.testing.assert_close(found[:1, :, :7, :5], expected)


def test_where_nothing_is_normalized() -> None:
    whole, finer = PyramidPooling(3, 4, grids=(1, 2), normalize_whole=False).convs
    assert isinstance(whole[1], torch.nn.Identity) and whole[0].bias is not None  # type: ignore[index]
    assert isinstance(finer[1], torch.nn.BatchNorm2d) and finer[0].bias is None  # type: ignore[index]
    assert all(isinstance(conv[1], torch.nn.Identity) for conv in PyramidPooling(3, 4, norm="none").convs)  # type: ignore[index]
