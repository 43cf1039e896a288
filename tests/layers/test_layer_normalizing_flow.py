"""The flow can be undone, and its density is one."""

from __future__ import annotations

import math

import torch

from vertebra.layers.normalizing_flow import RealNVP


def bent() -> RealNVP:
    """A flow that is far from the identity."""
    flow = RealNVP(steps=5, hidden=8)
    for value in flow.parameters():
        torch.nn.init.normal_(value, std=0.4)
    return flow


def test_the_inverse_undoes_the_flow() -> None:
    flow, points = bent(), 2 * torch.randn(7, 3, 2)
    latent = flow.to_latent(points)[0].detach()
    assert float((latent - points).abs().mean()) > 0.2
    torch.testing.assert_close(flow(latent), points, atol=1e-4, rtol=1e-4)


def test_the_determinant_is_that_of_the_jacobian() -> None:
    flow = bent()
    for point in torch.randn(5, 2):
        jacobian = torch.autograd.functional.jacobian(lambda value: flow.to_latent(value)[0], point)
        _, change = flow.to_latent(point)
        torch.testing.assert_close(change, torch.linalg.det(jacobian).abs().log(), atol=1e-5, rtol=1e-4)


def test_the_density_adds_up_to_one() -> None:
    flow = bent()
    side = torch.linspace(-20, 20, 801)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        total = flow.log_density(grid).exp().sum() * (side[1] - side[0]) ** 2
    assert abs(float(total) - 1) < 0.02


def test_a_fresh_flow_is_nearly_the_normal_distribution() -> None:
    with torch.no_grad():
        density = RealNVP().log_density(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    expected = torch.tensor([0.0, -2.5]) - math.log(2 * math.pi)
    torch.testing.assert_close(density, expected, atol=0.15, rtol=0)


def test_it_learns_a_skewed_distribution() -> None:
    """The likelihood of points on a bent line rises far above that of the best normal distribution."""
    flow = RealNVP(steps=4, hidden=16)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(200):
        x = torch.randn(128)
        points = torch.stack([x, x.pow(2) + 0.1 * torch.randn(128)], dim=1)
        loss = -flow.log_density(points).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # the normal distribution with the same moments: entropy (1 + log 2 pi) + (log 1 + log 2.01) / 2
    assert float(loss.detach()) < 1 + math.log(2 * math.pi) + 0.5 * math.log(2.01) - 0.5
