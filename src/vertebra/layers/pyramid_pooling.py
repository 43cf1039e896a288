"""Pyramid pooling: means over grids of increasing resolution, which give every cell context at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vertebra.features import Frame
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.resample import Fit

GRIDS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Means over grids of an image, each passed through a 1x1 convolution and upsampled to the map.

    A grid covers only the cells of the image, not the canvas' padding, so the result does not depend on the canvas size.

    Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv 1612.01105.

    Args:
        channels: output width of each grid.
        grids: cells of each grid, along one side.
        norm: normalization after each convolution.
        normalize_whole: whether the grid of one cell is normalized too; segmentation-models-pytorch leaves it out there.
        fit: "corners" aligns the centers of the corner cells; otherwise each cell stays over its pixels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        grids: Sequence[int] = GRIDS,
        norm: Norm = "batch",
        normalize_whole: bool = True,
        fit: Fit = "stride",
    ) -> None:
        super().__init__()
        self.grids = tuple(grids)
        self.corners = fit == "corners"
        self.convs = nn.ModuleList(
            ConvNormAct(in_channels, channels, 1, norm=norm if grid > 1 or normalize_whole else "none")
            for grid in self.grids
        )

    def forward(self, maps: Tensor, stride: int, frame: Frame) -> list[Tensor]:
        """The pooled maps of all grids.

        Args:
            maps: (N, in_channels, h, w) at ``stride``.

        Returns:
            (N, channels, h, w) for each grid.
        """
        cells = (-(-frame.sizes // stride)).clamp(min=1)
        maps = maps.contiguous()  # else the product depends on the memory layout, which torch.export cannot know
        outputs = []
        for grid, conv in zip(self.grids, self.convs, strict=True):
            rows = bin_shares(cells[:, 0], maps.shape[-2], grid)[:, None].to(maps.dtype)
            columns = bin_shares(cells[:, 1], maps.shape[-1], grid)[:, None].to(maps.dtype)
            pooled = conv(rows @ maps @ columns.transpose(-2, -1))
            down = line_shares(cells[:, 0], maps.shape[-2], grid, self.corners)[:, None].to(pooled.dtype)
            across = line_shares(cells[:, 1], maps.shape[-1], grid, self.corners)[:, None].to(pooled.dtype)
            outputs.append(down @ pooled @ across.transpose(-2, -1))
        return outputs


def bin_shares(lengths: Tensor, cells: int, grid: int) -> Tensor:
    """The weight of each cell in the mean of each bin, with the bins of torch's adaptive pooling.

    Args:
        lengths: (N,) int64, how many of the cells cover the image.
        cells: number of cells.
        grid: number of bins.

    Returns:
        (N, grid, cells) float32; the weights of a bin sum to 1, and those of cells beyond ``lengths`` are 0.
    """
    cell = torch.arange(cells, device=lengths.device)
    number = torch.arange(grid, device=lengths.device)
    start = number * lengths[:, None] // grid
    stop = -(-(number + 1) * lengths[:, None] // grid)
    inside = (cell >= start[..., None]) & (cell < stop[..., None])
    return inside.float() / (stop - start)[..., None]


def line_shares(lengths: Tensor, cells: int, grid: int, corners: bool) -> Tensor:
    """The weight of each bin in each cell, by linear interpolation between the bins' centers.

    Args:
        lengths: (N,) int64, how many of the cells the bins cover; cells beyond have the weights of the last of them.
        cells: number of cells.
        grid: number of bins.
        corners: whether the first and last cell are aligned with the centers of the first and last bin.

    Returns:
        (N, cells, grid) float32; the weights of a cell sum to 1.
    """
    cell = torch.minimum(torch.arange(cells, device=lengths.device), lengths[:, None] - 1).float()
    if corners:
        position = cell * (grid - 1) / (lengths[:, None] - 1).clamp(min=1)
    else:
        position = (cell + 0.5) * grid / lengths[:, None] - 0.5
    position = position.clamp(0, grid - 1)
    number = torch.arange(grid, device=lengths.device)
    return (1 - (position[..., None] - number).abs()).clamp(min=0)
