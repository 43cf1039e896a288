"""Encodes points as heatmaps, Gaussians over an area or over bins along each axis, and decodes them.

Coordinates are in cells, at the cells' edges: cell i of a row reaches from i to i + 1 and its middle is at i + 0.5.
Encoding and decoding keep the fraction of a cell. That is the unbiased transformation of Huang et al., The Devil is in
the Details: Delving into Unbiased Data Processing for Human Pose Estimation, CVPR 2020, arXiv 1911.07524: the
continuous plane is scaled, never an index.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FLOOR = 1e-4  # relative to a map's peak; smaller values hold no information about the position


def gaussian_maps(
    points: Float[Tensor, "*p 2"], height: int, width: int, sigma: float
) -> Float[Tensor, "*p {height} {width}"]:
    """One map for each point, with a Gaussian of height 1 around it.

    Args:
        points: (..., 2) x, y in cells.
        height, width: cells of the maps.
        sigma: standard deviation in cells.

    Returns:
        (..., height, width) float32.
    """
    rows = _bell(points[..., 1], height, sigma)
    columns = _bell(points[..., 0], width, sigma)
    return rows[..., :, None] * columns[..., None, :]


def find_peaks(maps: Float[Tensor, "*p h w"], sigma: float) -> tuple[Float[Tensor, "*p 2"], Float[Tensor, "*p"]]:
    """The peak of each map, to a fraction of a cell.

    The logarithm of a Gaussian is a parabola, so the values around the highest cell determine its maximum. The rough
    maps of a network are smoothed first, except near the edges, where smoothing would need cells outside the map. Zhang
    et al., Distribution-Aware Coordinate Representation for Human Pose Estimation (DARK), CVPR 2020, arXiv 1910.06278
    (differences: it also works at the edges, by the parabola through the nearest cells inside; second differences are
    of one cell).

    Args:
        maps: (..., h, w).
        sigma: standard deviation that the maps were made with, in cells.

    Returns:
        (..., 2) x, y in cells, and (...) the value at the highest cell.
    """
    height, width = maps.shape[-2:]
    maps = maps.float()
    peak, index = maps.flatten(-2).max(dim=-1)
    row = torch.div(index, width, rounding_mode="floor")
    column = index - row * width  # not "place % width", which cannot be exported where the width is free
    reach = _reach(sigma) + 1
    inside = (row >= reach) & (row < height - reach) & (column >= reach) & (column < width - reach)
    smooth = _smooth(_patch_around(maps, row, column, reach), sigma)
    y, x = row.clamp(min=1, max=height - 2), column.clamp(min=1, max=width - 2)
    heat = torch.where(inside[..., None, None], smooth, _patch_around(maps, y, x, 1)).flatten(-2)
    shift_x, shift_y, is_maximum = _parabola_maximum(heat.clamp(min=FLOOR * peak[..., None].clamp(min=FLOOR)).log())
    shift_x = torch.where(is_maximum, (x - column + shift_x).clamp(-1, 1), 0.0)
    shift_y = torch.where(is_maximum, (y - row + shift_y).clamp(-1, 1), 0.0)
    return torch.stack([column + 0.5 + shift_x, row + 0.5 + shift_y], dim=-1), peak


def gaussian_bins(coordinates: Float[Tensor, "*p"], bins: int, sigma: float) -> Float[Tensor, "*p {bins}"]:
    """A distribution over bins for each coordinate: a Gaussian around it.

    Args:
        coordinates: (...) in bins.
        bins: how many there are.
        sigma: standard deviation in bins.

    Returns:
        (..., bins) float32 that sums to 1.
    """
    heat = _bell(coordinates.clamp(0, bins), bins, sigma)
    return heat / heat.sum(dim=-1, keepdim=True)


def find_coordinates(
    probabilities: Float[Tensor, "*p bins"], sigma: float, soft: bool = True
) -> tuple[Float[Tensor, "*p"], Float[Tensor, "*p"]]:
    """The coordinate of a distribution over bins, and its score.

    Args:
        probabilities: (..., bins) that sum to 1.
        sigma: standard deviation that the distributions were made with, in bins.
        soft: the mean of the bins around the best one, up to three sigma and at most to the nearer end (so the ends cause no
            bias); otherwise the middle of the best bin.

    Returns:
        (...) coordinates in bins, and (...) scores in 0..1: the best bin's probability as a part of the highest that a
        Gaussian of this sigma has.
    """
    bins = probabilities.shape[-1]
    best, index = probabilities.max(dim=-1)
    score = (best * (max(sigma, 0.4) * math.sqrt(2 * math.pi))).clamp(max=1)
    if not soft:
        return index + 0.5, score
    numbers = torch.arange(bins, device=probabilities.device)
    reach = torch.minimum(index, bins - 1 - index).clamp(max=max(1, math.ceil(3 * sigma)))
    near = torch.where((numbers - index[..., None]).abs() <= reach[..., None], probabilities, 0.0)
    return (near * (numbers + 0.5)).sum(dim=-1) / near.sum(dim=-1), score


def _bell(coordinates: Float[Tensor, "*p"], cells: int, sigma: float) -> Float[Tensor, "*p {cells}"]:
    """(..., cells) heights of a Gaussian around coordinates (...) at the cells' middles."""
    middles = torch.arange(cells, device=coordinates.device, dtype=torch.float32) + 0.5
    return (-((middles - coordinates.float()[..., None]) ** 2) / (2 * sigma**2)).exp()


def _reach(sigma: float) -> int:
    """Cells on either side that smoothing uses: the paper's 11 cells in all for a sigma of 2."""
    return max(1, round(2.5 * sigma))


def _smooth(patches: Float[Tensor, "*p side side"], sigma: float) -> Float[Tensor, "*p 3 3"]:
    """The middle 3 x 3 cells of patches (..., p, p), p = 2 * reach + 3, blurred with a Gaussian of the same sigma."""
    reach = _reach(sigma)
    steps = torch.arange(-reach - 1, reach + 2, device=patches.device, dtype=torch.float32)
    middles = torch.arange(-1, 2, device=patches.device, dtype=torch.float32)
    distance = steps - middles[:, None]
    kernel = torch.where(distance.abs() <= reach, (-(distance**2) / (2 * sigma**2)).exp(), 0.0)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    # sums instead of matrix products, which would have low precision under autocast
    rows = (patches[..., None, :, :] * kernel[:, :, None]).sum(dim=-2)
    return (rows[..., None, :] * kernel).sum(dim=-1)


def _patch_around(
    maps: Float[Tensor, "*p h w"], row: Int[Tensor, "*p"], column: Int[Tensor, "*p"], reach: int
) -> Float[Tensor, "*p {2*reach+1} {2*reach+1}"]:
    """(..., 2 * reach + 1, 2 * reach + 1) values of maps (..., h, w) around a cell; the edges are replicated."""
    height, width = maps.shape[-2:]
    steps = torch.arange(-reach, reach + 1, device=maps.device)
    rows = (row[..., None, None] + steps[:, None]).clamp(min=0, max=height - 1)
    columns = (column[..., None, None] + steps).clamp(min=0, max=width - 1)
    indices = rows * width + columns
    return maps.flatten(-2).gather(-1, indices.flatten(-2)).reshape(indices.shape)


def _parabola_maximum(
    values: Float[Tensor, "*p 9"],
) -> tuple[Float[Tensor, "*p"], Float[Tensor, "*p"], Bool[Tensor, "*p"]]:
    """The maximum of the parabola through nine cells: x and y from the middle cell, and whether there is one.

    Args:
        values: (..., 9) row by row.
    """
    a, b, c, d, e, f, g, h, i = values.unbind(dim=-1)
    slope_x, slope_y = (f - d) / 2, (h - b) / 2
    curvature_x, curvature_y, curvature_xy = f - 2 * e + d, h - 2 * e + b, (i - g - c + a) / 4
    determinant = curvature_x * curvature_y - curvature_xy**2
    is_maximum = (curvature_x < 0) & (curvature_y < 0) & (determinant > 1e-8)
    safe = torch.where(is_maximum, determinant, 1.0)
    x = (curvature_xy * slope_y - curvature_y * slope_x) / safe
    y = (curvature_xy * slope_x - curvature_x * slope_y) / safe
    return x, y, is_maximum
