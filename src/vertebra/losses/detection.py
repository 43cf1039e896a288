"""Loss terms of dense detectors, each a sum over anchors or locations with the number of positive ones as its count."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from vertebra.geometry.box_coding import encode_deltas
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.scope import counted_classes

BoxLoss = Literal["smooth_l1", "l1", "giou"]


def positives(positive: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    """() float32, the number of positive candidates, which is the count of every term here."""
    return positive.sum().float()


def focal_term(
    logits: Float[Tensor, "n a k"],
    labels: Int[Tensor, "n a"],
    positive: Bool[Tensor, "n a"],
    ignored: Bool[Tensor, "n a"],
    exhaustive: Bool[Tensor, "n k"] | None = None,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> LossTerm:
    """Sigmoid focal loss over all classes of all candidates that are not ignored.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.

    Args:
        logits: (N, A, classes).
        labels: (N, A) int64 class ids; read where positive only.
        positive: (N, A) bool.
        ignored: (N, A) bool.
        exhaustive: (N, K) bool, the classes of which all objects are annotated, see `vertebra.losses.scope`; None for all.
        alpha: weight of the positive class, 0 to 1; 1 - alpha is that of the rest.
        gamma: exponent; a larger one gives less weight to easy candidates.
    """
    classes = torch.arange(logits.shape[-1], device=logits.device)
    ground_truth = (labels[..., None] == classes) & positive[..., None]
    counted, classes_counted = ~ignored[..., None], counted_classes(ground_truth, exhaustive)
    counted = counted if classes_counted is None else counted & classes_counted
    return LossTerm(_FocalSum.apply(logits.float(), ground_truth, counted, alpha, gamma), positives(positive))  # type: ignore[no-untyped-call]


class _FocalSum(torch.autograd.Function):
    """The sum of `focal_term`. Of its intermediate maps, each as large as the logits, only the logits are kept for the gradient.

    With z = -x for the true class and z = x elsewhere, and s its sigmoid, the loss is w softplus(z) s^gamma, w being alpha or
    1 - alpha, and its derivative w s^gamma (s + gamma (1 - s) softplus(z)), with the sign of z.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, ground_truth: Tensor, counted: Tensor, alpha: float, gamma: float) -> Tensor:
        """The sum, () float32."""
        ctx.save_for_backward(logits, ground_truth, counted)
        ctx.alpha, ctx.gamma = alpha, gamma
        turned = torch.where(ground_truth, -logits, logits)
        loss = F.softplus(turned).mul_(turned.sigmoid_().pow_(gamma)).mul_(torch.where(ground_truth, alpha, 1 - alpha))
        if counted.shape[-1] == 1:
            return torch.where(counted[..., 0], loss.sum(dim=-1), 0).sum()
        return torch.where(counted, loss, 0).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """With respect to the logits."""
        logits, ground_truth, counted = ctx.saved_tensors
        turned = torch.where(ground_truth, -logits, logits)
        grown = F.softplus(turned).mul_(ctx.gamma)
        share = turned.sigmoid_()
        slope = grown.mul_(1 - share).add_(share).mul_(share.pow_(ctx.gamma))
        slope = slope.mul_(torch.where(ground_truth, -ctx.alpha, 1 - ctx.alpha))
        return slope.mul_(counted * gradient), None, None, None, None


def giou_term(
    boxes: Float[Tensor, "n a 4"], ground_truth: Float[Tensor, "n a 4"], positive: Bool[Tensor, "n a"]
) -> LossTerm:
    """Generalized IoU loss (1 - GIoU) of the positive candidates' boxes.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv 1902.09630.

    Args:
        boxes: (N, A, 4) xyxy as predicted.
        ground_truth: (N, A, 4) xyxy; read where positive only.
        positive: (N, A) bool.
    """
    boxes = boxes.float()
    # elsewhere a box is compared with itself: the loss is finite, and masking its gradient gives no NaN
    safe = torch.where(positive[..., None], ground_truth.float(), boxes.detach())
    loss = generalized_box_iou_loss(boxes, safe, reduction="none")
    return LossTerm(torch.where(positive, loss, 0).sum(), positives(positive))


def delta_term(
    deltas: Float[Tensor, "n a 4"],
    anchors: Float[Tensor, "*#n a 4"],
    ground_truth: Float[Tensor, "n a 4"],
    positive: Bool[Tensor, "n a"],
    *,
    beta: float,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> LossTerm:
    """Smooth L1 loss of the positive anchors' coded boxes, summed over the four numbers.

    Girshick, Fast R-CNN, ICCV 2015, arXiv 1504.08083.

    Args:
        deltas: (N, A, 4) as predicted.
        anchors: (A, 4) xyxy.
        ground_truth: (N, A, 4) xyxy; read where positive only.
        positive: (N, A) bool.
        beta: threshold between the squared and the absolute error; 0 is the L1 loss.
        weights: factors of the coded ground truth, the same as in ``deltas``.
    """
    mask = positive[..., None]
    expected = encode_deltas(torch.where(mask, ground_truth.float(), anchors), anchors)
    expected = expected * expected.new_tensor(weights)
    loss = F.smooth_l1_loss(deltas.float(), expected, reduction="none", beta=beta)
    return LossTerm(torch.where(mask, loss, 0).sum(), positives(positive))


def centerness(distances: Float[Tensor, "*a 4"]) -> Float[Tensor, "*a"]:
    """The centerness of a location in its box.

    Tian et al., FCOS, ICCV 2019, arXiv 1904.01355, equation 3.

    Args:
        distances: (..., 4) to the left, top, right and bottom side of the box.

    Returns:
        (...) in 0..1; 1 in the middle, 0 on a side and outside.
    """
    near = torch.minimum(distances[..., :2], distances[..., 2:]).clamp(min=0)
    far = torch.maximum(distances[..., :2], distances[..., 2:]).clamp(min=torch.finfo(distances.dtype).tiny)
    return (near / far).prod(dim=-1).sqrt()


def centerness_term(
    logits: Float[Tensor, "n a"], distances: Float[Tensor, "n a 4"], positive: Bool[Tensor, "n a"]
) -> LossTerm:
    """Binary cross-entropy between predicted and true `centerness` of the positive locations.

    Args:
        logits: (N, A).
        distances: (N, A, 4) from each location to the sides of its object; read where positive only.
        positive: (N, A) bool.
    """
    ground_truth = centerness(torch.where(positive[..., None], distances, 1.0))
    loss = F.binary_cross_entropy_with_logits(logits.float(), ground_truth, reduction="none")
    return LossTerm(torch.where(positive, loss, 0).sum(), positives(positive))
