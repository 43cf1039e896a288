"""A normalizing flow over pairs of numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class RealNVP(nn.Module):
    """A learned density over the plane: invertible steps map points to a standard normal distribution.

    Each step keeps one coordinate, and scales and shifts the other by amounts that a small network computes from the kept one.
    Dinh et al., Density Estimation Using Real NVP, ICLR 2017, arXiv 1605.08803.

    Args:
        steps: number of steps; they keep the two coordinates in turn.
        hidden: width of the small networks.
    """

    kept: Tensor

    def __init__(self, steps: int = 6, hidden: int = 64) -> None:
        super().__init__()
        kept = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(-(-steps // 2), 1)[:steps]
        self.register_buffer("kept", kept, persistent=False)
        self.scales = nn.ModuleList(_network(hidden, nn.Tanh()) for _ in range(steps))
        self.moves = nn.ModuleList(_network(hidden, nn.Identity()) for _ in range(steps))

    def forward(self, latent: Tensor) -> Tensor:
        """From the normal distribution to the plane: (..., 2) in and out."""
        points = latent
        for kept, scale, move in zip(self.kept, self.scales, self.moves, strict=True):
            same = points * kept
            points = same + (1 - kept) * (points * scale(same).exp() + move(same))
        return points

    def to_latent(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `forward`: (..., 2), and (...) the logarithm of its Jacobian's determinant."""
        change = points.new_zeros(points.shape[:-1])
        steps = list(zip(self.kept, self.scales, self.moves, strict=True))
        for kept, scale, move in reversed(steps):
            same = points * kept
            grown = scale(same) * (1 - kept)
            points = same + (1 - kept) * (points - move(same)) * (-grown).exp()
            change = change - grown.sum(dim=-1)
        return points, change

    def log_density(self, points: Tensor) -> Tensor:
        """Logarithm of the density at points (..., 2): (...)."""
        latent, change = self.to_latent(points)
        return change - 0.5 * latent.pow(2).sum(dim=-1) - math.log(2 * math.pi)


def _network(hidden: int, last: nn.Module) -> nn.Sequential:
    """A network from two numbers to two; its output starts near 0, so the flow starts near the identity."""
    layers = nn.Sequential(
        nn.Linear(2, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(), nn.Linear(hidden, 2), last
    )
    out = layers[4]
    assert isinstance(out, nn.Linear)
    nn.init.normal_(out.weight, std=0.01)
    nn.init.zeros_(out.bias)
    return layers
