"""Random points in images, and the values of maps there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def random_points(sizes: Int[Tensor, "n 2"], rows: int, count: int) -> Float[Tensor, "n rows count 2"]:
    """Points with a uniform distribution over each image.

    Args:
        sizes: (N, 2) height and width of the images on their canvases.
        rows: of points for each image.
        count: points in a row.

    Returns:
        (N, rows, count, 2) float32 x, y in pixels.
    """
    shares = torch.rand(len(sizes), rows, count, 2, device=sizes.device)
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
    return values[:, 0, 0].unflatten(0, maps.shape[:2])
