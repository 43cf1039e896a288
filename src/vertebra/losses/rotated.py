"""Loss terms of rotated boxes, each a sum over locations with the number of positive ones as its count.

A box is coded as six numbers: center x and y, the lengths of its first and second side, and the cosine and sine of *twice* the
angle of the first side, which are the same for both ends of a side and have no jump at any angle.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vertebra.geometry.rectangles import center_sides_direction, corners_of
from vertebra.losses.detection import positives
from vertebra.losses.loss_term import LossTerm

MIN_SIDE = 0.5  # pixels; shorter sides are as long in the loss
HALF_MIDDLE, MIDDLE = (0.8, 0.6), (0.28, 0.96)  # cosine and sine of 37 degrees, and of twice that


def encode_corners(corners: Float[Tensor, "*b 4 2"]) -> Float[Tensor, "*b 6"]:
    """Rectangles (..., 4, 2) as coded boxes (..., 6)."""
    center, sides, direction = center_sides_direction(corners)
    cosine, sine = direction[..., 0], direction[..., 1]
    double = torch.stack([cosine * cosine - sine * sine, 2 * cosine * sine], dim=-1)
    return torch.cat([center, sides, double], dim=-1)


def decode_corners(boxes: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 4 2"]:
    """The inverse of `encode_corners`, up to the order of the corners.

    The first side has an angle from -53 to 127 degrees: at these ends the order of the corners changes, and objects are seldom
    turned by just that angle, as they are by 0, 45 or 90 degrees.
    """
    cosine, sine = boxes[..., 4], boxes[..., 5]
    turned_cosine = cosine * MIDDLE[0] + sine * MIDDLE[1]  # twice the angle, less twice that of the middle
    turned_sine = sine * MIDDLE[0] - cosine * MIDDLE[1]
    half_cosine = ((1 + turned_cosine).clamp(min=0) / 2).sqrt()
    half_sine = ((1 - turned_cosine).clamp(min=0) / 2).sqrt() * torch.where(turned_sine < 0, -1.0, 1.0)
    x = half_cosine * HALF_MIDDLE[0] - half_sine * HALF_MIDDLE[1]
    y = half_cosine * HALF_MIDDLE[1] + half_sine * HALF_MIDDLE[0]
    corners: Tensor = corners_of(boxes[..., :2], boxes[..., 2:4], torch.stack([x, y], dim=-1))
    return corners


def gaussian_divergence(boxes: Float[Tensor, "*b 6"], ground_truth: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b"]:
    """The Kullback-Leibler divergence of boxes from others, each as the normal distribution with its center as the mean and half
    its sides as standard deviations.

    Yang et al., Learning High-Precision Bounding Box for Rotated Object Detection via Kullback-Leibler Divergence, NeurIPS 2021,
    arXiv 2106.01883, equation 7.

    Args:
        boxes: (..., 6) coded, as predicted.
        ground_truth: (..., 6) coded.

    Returns:
        (...), 0 where they are equal; the same for either order of the sides, and hardly dependent on the angle of squares.
    """
    shift = boxes[..., :2] - ground_truth[..., :2]
    sides = boxes[..., 2:4].clamp(min=MIN_SIDE)
    true_sides = ground_truth[..., 2:4].clamp(min=MIN_SIDE)
    cosine, sine = ground_truth[..., 4], ground_truth[..., 5]
    squares, true_squares = sides.square() / 4, true_sides.square() / 4
    # in the frame of the true box, by formulas for twice the angle: x'^2 and y'^2, and the variances of the predicted box
    length, tilt = shift.square().sum(dim=-1), shift[..., 0].square() - shift[..., 1].square()
    turned = tilt * cosine + 2 * shift[..., 0] * shift[..., 1] * sine
    apart = torch.stack([length + turned, length - turned], dim=-1) / 2
    agreement = boxes[..., 4] * cosine + boxes[..., 5] * sine  # the cosine of twice the angle between them
    mean, difference = squares.mean(dim=-1), (squares[..., 0] - squares[..., 1]) / 2 * agreement
    spread = torch.stack([mean + difference, mean - difference], dim=-1)
    ratios = 2 * (true_sides.log() - sides.log()).sum(dim=-1)
    return 0.5 * (((apart + spread) / true_squares).sum(dim=-1) + ratios) - 1


def divergence_term(
    boxes: Float[Tensor, "n a 6"], ground_truth: Float[Tensor, "n a 6"], positive: Bool[Tensor, "n a"]
) -> LossTerm:
    """1 - 1 / (1 + log(1 + sqrt(D))) of the positive locations' boxes, D their `gaussian_divergence`: 0 to 1, as of an IoU.

    Args:
        boxes: (N, A, 6) coded, as predicted.
        ground_truth: (N, A, 6) coded; read where positive only.
        positive: (N, A) bool.
    """
    boxes, mask = boxes.float(), positive[..., None]
    example = boxes.new_tensor([0.0, 0.0, 1.0, 1.0, 1.0, 0.0])  # where nothing is matched, so that gradients are finite
    safe_boxes, safe_truth = torch.where(mask, boxes, example), torch.where(mask, ground_truth.float(), example)
    divergence = gaussian_divergence(safe_boxes, safe_truth)
    distance = (divergence.clamp(min=0) + 1e-6).sqrt()
    loss = 1 - 1 / (1 + torch.log1p(distance))
    return LossTerm(torch.where(positive, loss, 0).sum(), positives(positive))


def angle_term(
    boxes: Float[Tensor, "n a 6"], ground_truth: Float[Tensor, "n a 6"], positive: Bool[Tensor, "n a"]
) -> LossTerm:
    """The squared sine of twice the angle between boxes: 0 where sides are parallel or perpendicular to those of the true box. The
    angle of a square, on which `gaussian_divergence` does not depend, is learned by this term alone.

    Args:
        boxes, ground_truth, positive: as in `divergence_term`.
    """
    boxes, ground_truth = boxes.float(), ground_truth.float()
    sine = boxes[..., 5] * ground_truth[..., 4] - boxes[..., 4] * ground_truth[..., 5]
    return LossTerm(torch.where(positive, sine.square(), 0).sum(), positives(positive))
