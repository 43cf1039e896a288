"""One-to-one matching of queries and objects at the least total cost.

The matching is an operator, `vertebra::match_queries`: it runs on the CPU, and a compiled graph calls it as one node.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vertebra.geometry.boxes import from_center_size
from vertebra.geometry.giou import pairwise_giou
from vertebra.tasks.assignment import min_cost_assignment

CLASS_COST, BOX_COST, GIOU_COST = 2.0, 5.0, 2.0
MASK_COST, DICE_COST = 5.0, 5.0


def query_cost(
    class_logits: Float[Tensor, "n q k"],
    boxes: Float[Tensor, "n q 4"],
    labels: Int[Tensor, "n m"],
    ground_truth: Float[Tensor, "n m 4"],
) -> Float[Tensor, "n q m"]:
    """Cost of each pair of a query and an object: focal loss of the class, L1 distance and GIoU of the box.

    Zhu et al., Deformable DETR, ICLR 2021, arXiv 2010.04159.

    Args:
        class_logits: (N, Q, classes), one sigmoid per class.
        boxes: (N, Q, 4) center and size in parts of the canvas.
        labels: (N, M) int64 class ids of the objects.
        ground_truth: (N, M, 4) like ``boxes``.

    Returns:
        (N, Q, M) float32.
    """
    logits = class_logits.float().gather(2, labels[:, None].expand(-1, boxes.shape[1], -1))
    probability = logits.sigmoid()
    present, absent = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    classification = 0.25 * (1 - probability) ** 2 * present - 0.75 * probability**2 * absent
    return CLASS_COST * classification + box_cost(boxes, ground_truth)


def exclusive_query_cost(
    class_logits: Float[Tensor, "n q k"],
    boxes: Float[Tensor, "n q 4"],
    labels: Int[Tensor, "n m"],
    ground_truth: Float[Tensor, "n m 4"],
) -> Float[Tensor, "n q m"]:
    """Cost of each pair of a query and an object for one softmax over the classes and no object: negative probability of the
    class, L1 distance and GIoU of the box.

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv 2005.12872.

    Args:
        class_logits: (N, Q, classes + 1), the last for "no object".
        boxes, labels, ground_truth: as for `query_cost`.

    Returns:
        (N, Q, M) float32.
    """
    share = class_logits.float().softmax(dim=-1)
    return box_cost(boxes, ground_truth) - share.gather(2, labels[:, None].expand(-1, boxes.shape[1], -1))


def box_cost(boxes: Float[Tensor, "n q 4"], ground_truth: Float[Tensor, "n m 4"]) -> Float[Tensor, "n q m"]:
    """Cost of each pair of a box and an object, by L1 distance and GIoU.

    Args:
        boxes: (N, Q, 4) center and size in parts of the canvas or image.
        ground_truth: (N, M, 4) like ``boxes``.

    Returns:
        (N, Q, M)
    """
    overlap = pairwise_giou(from_center_size(boxes), from_center_size(ground_truth))
    return BOX_COST * torch.cdist(boxes, ground_truth, p=1) - GIOU_COST * overlap


def mask_query_cost(
    class_logits: Float[Tensor, "n q k"],
    mask_logits: Float[Tensor, "n q p"],
    labels: Int[Tensor, "n m"],
    ground_truth: Float[Tensor, "n m p"],
    counted: Float[Tensor, "n _ p"],
) -> Float[Tensor, "n q m"]:
    """Cost of each pair of a query and an object with masks: negative probability of the class, binary cross entropy and Dice
    loss at points.

    Cheng et al., Masked-attention Mask Transformer for Universal Image Segmentation, CVPR 2022, arXiv 2112.01527.

    Args:
        class_logits: (N, Q, classes + 1), the last for "no object".
        mask_logits: (N, Q, P) at the points.
        labels: (N, M) int64 class ids of the objects, 0 for padding.
        ground_truth: (N, M, P) in 0..1.
        counted: (N, M, P) weights of the points, 0 where there is no ground truth; or (N, 1, P), the same for all objects.

    Returns:
        (N, Q, M) float32.
    """
    share = class_logits.float().softmax(dim=-1).gather(2, labels[:, None].expand(-1, mask_logits.shape[1], -1))
    logits, counted = mask_logits.float(), counted.expand_as(ground_truth)
    present, absent = F.softplus(-logits), F.softplus(logits)  # the cross entropy of a point inside, and of one outside
    inside, outside = counted * ground_truth, counted * (1 - ground_truth)
    points = counted.sum(dim=-1)[:, None].clamp(min=1)
    entropy = (present @ inside.transpose(1, 2) + absent @ outside.transpose(1, 2)) / points
    probability = logits.sigmoid()
    both = probability @ inside.transpose(1, 2)
    total = probability @ counted.transpose(1, 2) + inside.sum(dim=-1)[:, None]
    dice = 1 - (2 * both + 1) / (total + 1)
    return MASK_COST * entropy + DICE_COST * dice - CLASS_COST * share


@torch.library.custom_op("vertebra::match_queries", mutates_args=(), schema="(Tensor cost, Tensor count) -> Tensor")
def match_queries(cost: Tensor, count: Tensor) -> Tensor:
    """The object of each query, such that the costs' sum is least (Kuhn, The Hungarian Method, 1955).

    Args:
        cost: (N, Q, M).
        count: (N,) int64, how many of the M are real; the real ones come first.

    Returns:
        (N, Q) int64, -1 for queries without an object. With more objects than queries, every query has an object.
    """
    table = cost.detach().float().nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).cpu().numpy().astype(np.float64)
    matches = np.full(cost.shape[:2], -1, dtype=np.int64)
    for image_cost, real, target in zip(table, count.tolist(), matches, strict=True):
        if real <= len(image_cost):
            queries = min_cost_assignment(image_cost[:, :real].T)
            target[queries] = np.arange(real)
        else:
            target[:] = min_cost_assignment(image_cost[:, :real])
    return torch.from_numpy(matches).to(cost.device)


@match_queries.register_fake
def _(cost: Tensor, count: Tensor) -> Tensor:
    return cost.new_empty(cost.shape[:2], dtype=torch.int64)
