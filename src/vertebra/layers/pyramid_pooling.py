"""Pooling over grids of growing fineness, so that every cell knows its image at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vertebra.features import Frame
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.resample import Fit

GRIDS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Means over grids of an image, each through a 1x1 convolution and laid over the map again.

    A grid is laid over the cells that show the image, not over the canvas' padding, so that what a cell sees does not
    depend on the canvas that its image lies on.

    Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv 1612.01105.

    Args:
        channels: width of what each grid gives.
        grids: cells of each grid, along one side.
        norm: normalization behind each convolution.
        normalize_whole: also behind that of a grid of one cell; segmentation-models-pytorch leaves it out there.
        fit: "corners" lays the centers of the corner cells on each other; otherwise cells stay over what they saw.
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
        """What each grid gives.

        Args:
            maps: (N, in_channels, h, w) at ``stride``.

        Returns:
            (N, channels, h, w) for each grid.
        """
        cells = (-(-frame.sizes // stride)).clamp(min=1)
        maps = maps.contiguous()  # else the product asks how they lie in memory, which torch.export cannot know
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
    """The share that each cell has in the mean of each bin, as torch's adaptive pooling cuts the bins.

    Args:
        lengths: (N,) int64, how many of the cells show the image.
        cells: how many there are.
        grid: how many bins.

    Returns:
        (N, grid, cells) float32; the shares of a bin sum to 1, and those of cells beyond ``lengths`` are 0.
    """
    cell = torch.arange(cells, device=lengths.device)
    number = torch.arange(grid, device=lengths.device)
    start = number * lengths[:, None] // grid
    stop = -(-(number + 1) * lengths[:, None] // grid)
    inside = (cell >= start[..., None]) & (cell < stop[..., None])
    return inside.float() / (stop - start)[..., None]


def line_shares(lengths: Tensor, cells: int, grid: int, corners: bool) -> Tensor:
    """The share that each bin has in each cell, by linear interpolation between the bins' centers.

    Args:
        lengths: (N,) int64, how many of the cells the bins are laid over; those beyond get what the last of them gets.
        cells: how many there are.
        grid: how many bins.
        corners: whether the first and last cell lie on the centers of the first and last bin.

    Returns:
        (N, cells, grid) float32; the shares of a cell sum to 1.
    """
    cell = torch.minimum(torch.arange(cells, device=lengths.device), lengths[:, None] - 1).float()
    if corners:
        position = cell * (grid - 1) / (lengths[:, None] - 1).clamp(min=1)
    else:
        position = (cell + 0.5) * grid / lengths[:, None] - 0.5
    position = position.clamp(0, grid - 1)
    number = torch.arange(grid, device=lengths.device)
    return (1 - (position[..., None] - number).abs()).clamp(min=0)
