"""The loss of queries that predict a class and a mask each, matched to ground-truth masks and read at points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.decoders.mask_targets import MaskTargets, real_masks
from vertebra.geometry.point_samples import spread_points, values_at
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.scope import exclusive_cross_entropy
from vertebra.matching.one_to_one import CLASS_COST, DICE_COST, MASK_COST, mask_query_cost, match_queries

OVERSAMPLING = 3  # points that are drawn for each one that is kept
CELL_POINTS = 4  # largest number of points for each cell of a mask
UNCERTAIN = 0.75  # part of the points that are the most uncertain of those drawn

MASK_QUERY_TERMS = ("classification", "mask", "dice", "auxiliary_classification", "auxiliary_mask")


class QueryMasks(NamedTuple):
    """The predictions of queries after one layer.

    Attributes:
        class_logits: (N, Q, classes + 1), the last for "no object".
        mask_logits: (N, Q, h, w).
    """

    class_logits: Tensor
    mask_logits: Tensor


class MaskErrors(NamedTuple):
    """Sums of a batch, weighted as in Mask2Former: of the classes with the sum of the queries' weights, and of the masks."""

    classification: Tensor
    weight: Tensor
    mask: Tensor
    dice: Tensor


def mask_query_terms(
    layers: Sequence[QueryMasks],
    targets: MaskTargets,
    sizes: Tensor,
    stride: int,
    *,
    points: int,
    none_weight: float,
    random: bool,
) -> dict[str, LossTerm]:
    """The losses of all layers, each after a matching of its own.

    Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, CVPR 2022, arXiv 2112.01527.

    Args:
        layers: the predictions, the last layer's last.
        targets: the ground truth.
        sizes: (N, 2) height and width of the images on their canvases.
        stride: pixels in a cell of the masks.
        points: at which each mask is compared; fewer on small maps, four times the cells of a mask.
        none_weight: weight of queries without an object in the cross entropy; others have 1.
        random: whether the points are drawn, as in training.

    Returns:
        The terms of `MASK_QUERY_TERMS`: those of the last layer, and the sums of the layers before it.
    """
    number = min(points, CELL_POINTS * layers[-1].mask_logits[0, 0].numel())
    *earlier, last = [_errors(layer, targets, _Points(sizes, stride, number, random), none_weight) for layer in layers]
    count = targets.count.sum().float()
    nothing = count.new_zeros(())
    return {
        "classification": LossTerm(last.classification, last.weight),
        "mask": LossTerm(last.mask, count),
        "dice": LossTerm(last.dice, count),
        "auxiliary_classification": LossTerm(sum((each.classification for each in earlier), nothing), last.weight),
        "auxiliary_mask": LossTerm(sum((each.mask + each.dice for each in earlier), nothing), count),
    }


class _Points(NamedTuple):
    """How points are spread, see `mask_query_terms`."""

    sizes: Tensor
    stride: int
    number: int
    random: bool

    def spread(self, number: int) -> Tensor:
        return spread_points(self.sizes, number, random=self.random)


def _errors(layer: QueryMasks, targets: MaskTargets, points: _Points, none_weight: float) -> MaskErrors:
    with torch.no_grad():
        shared = points.spread(points.number)
        logits, (expected, counted) = values_at(layer.mask_logits, shared, points.stride), targets.at(shared)
        cost = mask_query_cost(layer.class_logits, logits, targets.labels, expected, counted)
        matches = match_queries(cost, targets.count)
    positive = matches >= 0
    none = layer.class_logits.shape[-1] - 1
    labels = torch.where(positive, targets.labels.gather(1, matches.clamp(min=0)), none)
    weight = torch.where(positive, 1.0, none_weight)
    classification = (weight * exclusive_cross_entropy(layer.class_logits, labels, targets.exhaustive)).sum()
    queries, known = _queries_of_masks(matches, real_masks(targets))
    height, width = layer.mask_logits.shape[-2:]
    chosen = layer.mask_logits.gather(1, queries[..., None, None].expand(-1, -1, height, width))
    mask, dice = _point_errors(chosen, targets, known, points)
    return MaskErrors(CLASS_COST * classification, weight.sum(), mask, dice)


def _queries_of_masks(matches: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """The query of each mask, and which masks have one."""
    count = real.shape[1]
    table = torch.full((len(matches), count + 1), -1, device=matches.device)
    rows = torch.arange(matches.shape[1], device=matches.device).expand(matches.shape)
    queries = table.scatter(1, torch.where(matches >= 0, matches, count), rows)[:, :count]
    return queries.clamp(min=0), real & (queries >= 0)


def _point_errors(
    logits: Tensor,
    targets: MaskTargets,
    known: Tensor,
    points: _Points,
) -> tuple[Tensor, Tensor]:
    """Sums over the known masks of the cross entropy, its mean over the points of a mask, and of the Dice loss."""
    with torch.no_grad():
        chosen = _uncertain_points(logits, points)
        expected, counted = targets.at(chosen)
    values = values_at(logits, chosen, points.stride)
    entropy = counted * F.binary_cross_entropy_with_logits(values, expected, reduction="none")
    mask = entropy.sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)
    probability, expected = counted * values.sigmoid(), counted * expected
    both = (probability * expected).sum(dim=-1)
    dice = 1 - (2 * both + 1) / (probability.sum(dim=-1) + expected.sum(dim=-1) + 1)
    sums = [torch.where(known, each, 0.0).sum() for each in (mask, dice)]
    return MASK_COST * sums[0], DICE_COST * sums[1]


def _uncertain_points(logits: Tensor, points: _Points) -> Tensor:
    """Points of each mask: mostly those nearest to its border among many, and some of all.

    Kirillov et al., PointRend, CVPR 2020, arXiv 1912.08193; difference: the masks of an image choose from the same points.
    """
    uncertain = int(UNCERTAIN * points.number)
    drawn = points.spread(OVERSAMPLING * points.number)
    nearest = (-values_at(logits, drawn, points.stride).abs()).topk(uncertain, dim=-1).indices
    chosen = drawn.expand(-1, logits.shape[1], -1, -1).gather(2, nearest[..., None].expand(-1, -1, -1, 2))
    further = points.spread(points.number - uncertain).expand(-1, logits.shape[1], -1, -1)
    return torch.cat([chosen, further], dim=2)
