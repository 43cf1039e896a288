"""Contrastive denoising: training queries made from noisy ground truth, to be matched with it or classified as no object."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.geometry.boxes import from_center_size, to_center_size
from vertebra.layers.positional_attention import HIDDEN


class NoisyQueries(NamedTuple):
    """Queries made from ground truth and noise.

    Attributes:
        labels: (N, D) int64 class ids, some of them wrong; 0 where not real.
        boxes: (N, D, 4) float32 center and size in parts of the canvas, with noise.
        target: (N, D) int64, the object that each is made from.
        positive: (N, D) bool, a near copy, whose target is its object; the target of the others is no object.
        real: (N, D) bool, whether that object exists (False: padding).
        group: (D,) int64; queries attend within their group only.
    """

    labels: Tensor
    boxes: Tensor
    target: Tensor
    positive: Tensor
    real: Tensor
    group: Tensor


def group_count(objects: int, queries: int) -> int:
    """Number of groups that fit into ``queries``, at least one."""
    return max(1, queries // max(1, objects))


def noisy_queries(
    boxes: Tensor, labels: Tensor, count: Tensor, *, classes: int, queries: int, label_noise: float, box_noise: float
) -> NoisyQueries:
    """Groups of noisy copies of all objects: in each group one near copy of each, and one far copy.

    Each side of a near copy is moved by up to half the box's width or height, that of a far one by half to all of it
    (with ``box_noise`` 1). Objects after the first ``queries`` are left out, which bounds the cost of crowded images.

    Zhang et al., DINO: DETR with Improved DeNoising Anchor Boxes, ICLR 2023, arXiv 2203.03605, section 3.3.

    Args:
        boxes: (N, M, 4) center and size in parts of the canvas, padded; M may be 0.
        labels: (N, M) int64.
        count: (N,) int64, how many of the M are real; the real ones come first.
        classes: number of classes.
        queries: largest number of near copies.
        label_noise: half of this part of the labels is replaced by random classes.
        box_noise: largest shift of a side, in parts of half the box's size.

    Returns:
        D = 2 * groups * min(M, queries) queries (M taken as 1 if it is 0), random in labels and boxes.
    """
    objects = max(1, min(boxes.shape[1], queries))
    missing = max(0, objects - boxes.shape[1])
    boxes = F.pad(boxes[:, :objects], (0, 0, 0, missing), value=0.5)
    labels = F.pad(labels[:, :objects], (0, missing))
    groups = group_count(objects, queries)
    # axes (groups, near and far, objects), flattened
    device = boxes.device
    target = torch.arange(objects, device=device).repeat(2 * groups)
    far = torch.arange(2, device=device).repeat_interleave(objects).repeat(groups)
    real = target < count[:, None]
    wrong = torch.rand(real.shape, device=device) < 0.5 * label_noise
    drawn = torch.randint(0, classes, real.shape, device=device)
    noisy = _move(boxes[:, target].float(), far, box_noise)
    return NoisyQueries(
        labels=torch.where(real, torch.where(wrong, drawn, labels[:, target]), 0),
        boxes=noisy,
        target=target.expand(boxes.shape[0], -1),
        positive=real & (far == 0),
        real=real,
        group=torch.arange(groups, device=device).repeat_interleave(2 * objects),
    )


def _move(boxes: Tensor, far: Tensor, noise: float) -> Tensor:
    """Boxes (N, D, 4) with random noise on their four sides; far (D,) marks those with the larger noise."""
    amount = torch.rand_like(boxes) + far[:, None]
    direction = torch.randint_like(boxes, 0, 2) * 2 - 1
    reach = 0.5 * noise * boxes[..., 2:].repeat(1, 1, 2)
    return to_center_size((from_center_size(boxes) + amount * direction * reach).clamp(min=0, max=1))


def visibility(group: Tensor, real: Tensor, empty: Tensor) -> Tensor:
    """The attention bias: added to the logits of self-attention over noisy queries, then ordinary ones.

    A noisy query attends to its group and to all ordinary queries; an ordinary query attends to no noisy one, which would
    leak the ground truth. No query attends to empty ones.

    Args:
        group: (D,) of the noisy queries.
        real: (N, D) of the noisy queries.
        empty: (N, Q) of the ordinary queries.

    Returns:
        (N, 1, D + Q, D + Q) float32: 0, or a large negative number.
    """
    ordinary = group.new_full((empty.shape[1],), -1)
    groups = torch.cat([group, ordinary])
    allowed = (groups[:, None] == groups) | (groups == -1)
    present = torch.cat([real, ~empty], dim=1)
    return torch.where(allowed & present[:, None], 0.0, HIDDEN)[:, None]
