"""The losses of rotated boxes."""

from __future__ import annotations

import numpy as np
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from tests.geometry.test_rectangles import one, turned
from vertebra.geometry.rectangles import center_sides_direction, rotated_iou
from vertebra.losses.rotated import angle_term, decode_corners, divergence_term, encode_corners, gaussian_divergence


def normal(corners: torch.Tensor) -> MultivariateNormal:
    center, sides, direction = center_sides_direction(corners)
    across = torch.stack([-direction[:, 1], direction[:, 0]], dim=-1)
    axes = torch.stack([direction, across], dim=-1)
    return MultivariateNormal(center, axes @ torch.diag_embed(sides.square() / 4) @ axes.mT)


def test_the_code_is_that_of_the_rectangle() -> None:
    corners = turned(30)
    back = decode_corners(encode_corners(torch.from_numpy(corners))).numpy()
    np.testing.assert_allclose(rotated_iou(corners, back).diagonal(), 1, atol=1e-9)
    np.testing.assert_allclose(
        encode_corners(torch.from_numpy(corners[:, [2, 3, 0, 1]])), encode_corners(torch.from_numpy(corners))
    )


def test_the_divergence_is_that_of_normal_distributions() -> None:
    first, second = torch.from_numpy(turned(30)), torch.from_numpy(turned(30, 1))
    got = gaussian_divergence(encode_corners(first), encode_corners(second))
    torch.testing.assert_close(got, kl_divergence(normal(first), normal(second)))
    same = gaussian_divergence(encode_corners(first), encode_corners(first[:, [1, 2, 3, 0]]))
    torch.testing.assert_close(same, torch.zeros(30, dtype=torch.float64))


def test_the_loss_falls_to_the_true_box_from_far_away() -> None:
    true = encode_corners(torch.from_numpy(np.stack([one(30, 40, 40, 8, 70), one(30, 40, 20, 20, 45)])))[None].float()
    raw = torch.tensor([[[25.0, 50.0, 2.5, 2.5, 1.0, 0.1]] * 2], requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.3)
    positive = torch.ones(1, 2, dtype=torch.bool)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / 300)
        double = raw[..., 4:] / raw[..., 4:].norm(dim=-1, keepdim=True)
        boxes = torch.cat([raw[..., :2], raw[..., 2:4].exp(), double], dim=-1)
        loss = divergence_term(boxes, true, positive).sum + angle_term(boxes, true, positive).sum
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    overlap = rotated_iou(decode_corners(boxes[0].detach()), decode_corners(true[0])).diagonal()
    assert float(overlap.min()) > 0.9, "the square's angle too, by the angle term"


def test_what_is_not_matched_has_no_gradient() -> None:
    boxes = torch.tensor([[[3.0, 3, 1, 2, 1, 0], [0, 0, 0, 0, 0, 0]]], requires_grad=True)
    truth = torch.tensor([[[3.0, 3, 1, 2, 0, 1], [0, 0, 0, 0, 0, 0]]])
    positive = torch.tensor([[True, False]])
    terms = [term(boxes, truth, positive) for term in (divergence_term, angle_term)]
    sum(term.sum for term in terms).backward()  # type: ignore[union-attr]
    assert boxes.grad is not None and bool(boxes.grad.isfinite().all()) and not bool(boxes.grad[0, 1].any())
    assert all(float(term.count) == 1 for term in terms)
