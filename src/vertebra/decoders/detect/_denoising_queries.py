"""Contrastive denoising: in training, queries that start near the truth and are to find it, or to see that it is not there."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.geometry.boxes import from_center_size, to_center_size
from vertebra.layers.positional_attention import HIDDEN


class NoisyQueries(NamedTuple):
    """Queries made of the truth and noise.

    Attributes:
        labels: (N, D) int64 class ids, some of them wrong; 0 where not real.
        boxes: (N, D, 4) float32 center and size in parts of the canvas, moved.
        target: (N, D) int64, which object each is made of.
        positive: (N, D) bool, near enough that it is to find its object; the others are to find nothing.
        real: (N, D) bool, whether there is such an object.
        group: (D,) int64; queries see only those of their own group.
    """

    labels: Tensor
    boxes: Tensor
    target: Tensor
    positive: Tensor
    real: Tensor
    group: Tensor


def group_count(objects: int, queries: int) -> int:
    """How many groups there are: as many as fit into ``queries``, at least one."""
    return max(1, queries // max(1, objects))


def noisy_queries(
    boxes: Tensor, labels: Tensor, count: Tensor, *, classes: int, queries: int, label_noise: float, box_noise: float
) -> NoisyQueries:
    """Groups of noisy copies of all objects: in each group one near copy of each, and one far copy.

    A near copy has each side moved by up to half the box's width or height, a far one by between half and all of it
    (with ``box_noise`` 1). Objects beyond the first ``queries`` are left out, so that a crowded image costs no more.

    Zhang et al., DINO: DETR with Improved DeNoising Anchor Boxes, ICLR 2023, arXiv 2203.03605, section 3.3.

    Args:
        boxes: (N, M, 4) center and size in parts of the canvas, padded; M may be 0.
        labels: (N, M) int64.
        count: (N,) int64, how many of the M are real; the real ones stand first.
        classes: how many there are.
        queries: how many near copies there are to be, at most.
        label_noise: this part of the labels is drawn anew, half of the time.
        box_noise: how far sides move, in parts of half the box's size.

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
    """Boxes (N, D, 4) with their four sides moved at random; far (D,) are those that move by a half more."""
    amount = torch.rand_like(boxes) + far[:, None]
    direction = torch.randint_like(boxes, 0, 2) * 2 - 1
    reach = 0.5 * noise * boxes[..., 2:].repeat(1, 1, 2)
    return to_center_size((from_center_size(boxes) + amount * direction * reach).clamp(min=0, max=1))


def visibility(group: Tensor, real: Tensor, empty: Tensor) -> Tensor:
    """Who sees whom: what is added to the logits of self-attention over noisy queries, then ordinary ones.

    A noisy query sees those of its own group and all ordinary ones; an ordinary query sees no noisy one, since that would
    tell it the truth. Nobody sees queries that stand for nothing.

    Args:
        group: (D,) of the noisy queries.
        real: (N, D) of the noisy queries.
        empty: (N, Q) of the ordinary queries.

    Returns:
        (N, 1, D + Q, D + Q) float32: 0, or a large negative number.
    """
    ordinary = group.new_full((empty.shape[1],), -1)
    own = torch.cat([group, ordinary])
    may = (own[:, None] == own) | (own == -1)
    there = torch.cat([real, ~empty], dim=1)
    return torch.where(may & there[:, None], 0.0, HIDDEN)[:, None]
