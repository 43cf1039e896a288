"""Points spread over images, and the values of maps there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def spread_points(sizes: Int[Tensor, "n 2"], count: int, *, random: bool) -> Float[Tensor, "n 1 count 2"]:
    """Points that are uniform over each image.

    Roberts, The Unreasonable Effectiveness of Quasirandom Sequences, 2018: those that are not random are his sequence R2.

    Args:
        sizes: (N, 2) height and width of the images on their canvases.
        count: points of an image.
        random: whether they are drawn; else they are the same ones in each call, relative to an image's size.

    Returns:
        (N, 1, count, 2) float32 x, y in pixels.
    """
    if random:
        shares = torch.rand(len(sizes), 1, count, 2, device=sizes.device)
    else:
        steps = torch.tensor([0.7548776662466927, 0.5698402909980532], dtype=torch.float64)
        shares = (0.5 + torch.arange(count)[:, None] * steps).frac().float().expand(1, 1, -1, -1).to(sizes.device)
    return shares * sizes.flip(-1)[:, None, None].float()


def values_at(maps: Float[Tensor, "n c h w"], points: Float[Tensor, "n r p 2"], stride: int) -> Float[Tensor, "n c p"]:
    """The values of maps at points, bilinear between the centers of cells; those of the border beyond it.

    Args:
        maps: (N, C, h, w).
        points: (N, 1, P, 2) x, y in pixels, the same ones for all channels; or (N, C, P, 2), those of each channel.
        stride: pixels in a cell of ``maps``.

    Returns:
        (N, C, P) float32.
    """
    sides = torch.tensor([maps.shape[-1], maps.shape[-2]], device=maps.device) * stride
    grid = 2 * points / sides - 1
    if points.shape[1] == 1:
        return F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)[:, :, 0]
    values = F.grid_sample(
        maps.float().flatten(0, 1)[:, None],
        grid.flatten(0, 1)[:, None],
        padding_mode="border",
        align_corners=False,
    )
    return values[:, 0, 0].reshape(*maps.shape[:2], -1)
