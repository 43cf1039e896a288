"""Losses against a teacher's raw outputs (knowledge distillation); each is 0, with a gradient of 0, where both agree."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from vertebra.losses.loss_term import LossTerm

TEMPERATURE = 2.0
MIN_SCORE = 0.1  # of the teacher; below it a candidate's box means nothing
MIN_SCALE = 1e-3


def softened_divergence(
    logits: Float[Tensor, "n k *hw"], teacher: Float[Tensor, "n k *hw"], multilabel: bool
) -> Float[Tensor, "*p"]:
    """Kullback-Leibler divergence from the teacher's distribution over classes to the student's, both softened by a
    temperature of 2, times its square, so that the gradient does not depend on it.

    Hinton et al., Distilling the Knowledge in a Neural Network, 2015, arXiv 1503.02531.

    Args:
        logits: (N, K, ...) of the student.
        teacher: (N, K, ...) of the teacher.
        multilabel: sigmoid for each class, and the mean over classes, instead of softmax.

    Returns:
        (N, ...) float32.
    """
    student, teacher = logits.float() / TEMPERATURE, teacher.float() / TEMPERATURE
    if multilabel:
        expected = teacher.sigmoid()
        cross = F.binary_cross_entropy_with_logits(student, expected, reduction="none")
        entropy = F.binary_cross_entropy_with_logits(teacher, expected, reduction="none")
        return TEMPERATURE**2 * (cross - entropy).mean(dim=1)
    expected = teacher.log_softmax(dim=1)
    return TEMPERATURE**2 * (expected.exp() * (expected - student.log_softmax(dim=1))).sum(dim=1)


def soft_class_term(logits: Float[Tensor, "n k"], teacher: Float[Tensor, "n k"], multilabel: bool) -> LossTerm:
    """`softened_divergence` of the classes of images; the count is the number of images."""
    divergence = softened_divergence(logits, teacher, multilabel)
    return LossTerm(divergence.sum(), divergence.new_tensor(float(len(divergence))))


def soft_pixel_term(
    logits: Float[Tensor, "n k h w"], teacher: Float[Tensor, "n k h w"], valid: Bool[Tensor, "n h w"], multilabel: bool
) -> LossTerm:
    """`softened_divergence` of the classes of valid pixels; the count is their number."""
    divergence = softened_divergence(logits, teacher, multilabel)
    return LossTerm(torch.where(valid, divergence, 0).sum(), valid.sum().float())


def score_divergence(logits: Float[Tensor, "*a k"], teacher: Float[Tensor, "*a k"]) -> Float[Tensor, "*a"]:
    """Cross-entropy of sigmoid scores with the teacher's, weighted by the squared difference of the two: the quality focal loss,
    in which candidates on which both agree, as on most of the background, do not count.

    Li et al., Generalized Focal Loss, NeurIPS 2020, arXiv 2006.04388, equation 4.

    Returns:
        (...) float32, summed over classes.
    """
    expected = teacher.float().sigmoid()
    weight = (expected - logits.float().sigmoid()).pow(2)
    return (weight * F.binary_cross_entropy_with_logits(logits.float(), expected, reduction="none")).sum(dim=-1)


def box_divergence(
    boxes: Float[Tensor, "*a 4"], teacher: Float[Tensor, "*a 4"], scores: Float[Tensor, "*a"]
) -> tuple[Float[Tensor, "*a"], Float[Tensor, "*a"]]:
    """1 - GIoU of the student's and the teacher's boxes, times the teacher's score where that is 0.1 or more.

    Args:
        boxes: (..., 4) xyxy of the student.
        teacher: (..., 4) xyxy of the teacher.
        scores: (...) in 0..1 of the teacher.

    Returns:
        The losses (...) float32, and their weights (...).
    """
    weight = torch.where(scores >= MIN_SCORE, scores.float(), 0.0)
    # elsewhere a box is compared with itself: the loss is finite, and masking its gradient gives no NaN
    safe = torch.where(weight[..., None] > 0, teacher.float(), boxes.detach().float())
    return weight * generalized_box_iou_loss(boxes.float(), safe, reduction="none"), weight


def dense_term(
    logits: Float[Tensor, "n a k"],
    teacher_logits: Float[Tensor, "n a k"],
    boxes: Float[Tensor, "n a 4"],
    teacher_boxes: Float[Tensor, "n a 4"],
) -> LossTerm:
    """`score_divergence` of all candidates, and `box_divergence`, weighted by the best class; the count is the sum of these
    weights.

    Args:
        logits: (N, A, classes) of the student's scores.
        teacher_logits: (N, A, classes) of the teacher's.
        boxes: (N, A, 4) xyxy of the student.
        teacher_boxes: (N, A, 4) xyxy of the teacher.
    """
    box, weight = box_divergence(boxes, teacher_boxes, teacher_logits.float().sigmoid().amax(dim=-1))
    return LossTerm(score_divergence(logits, teacher_logits).sum() + box.sum(), weight.sum())


def region_term(
    logits: Float[Tensor, "n r k"],
    teacher_logits: Float[Tensor, "n r k"],
    boxes: Float[Tensor, "n r k 4"],
    teacher_boxes: Float[Tensor, "n r k 4"],
    valid: Bool[Tensor, "n r"],
) -> LossTerm:
    """`score_divergence`, and `box_divergence` of each class, of valid regions; the count is their number.

    Args:
        logits: (N, R, classes) of the student's scores.
        teacher_logits: (N, R, classes) of the teacher's.
        boxes: (N, R, classes, 4) xyxy of the student.
        teacher_boxes: (N, R, classes, 4) xyxy of the teacher.
        valid: (N, R) bool.
    """
    scores = torch.where(valid[..., None], teacher_logits.float().sigmoid(), 0.0)
    box, _ = box_divergence(boxes, teacher_boxes, scores)
    classes = torch.where(valid, score_divergence(logits, teacher_logits), 0)
    return LossTerm(classes.sum() + box.sum(), valid.sum().float())


def softmax_score_logits(logits: Float[Tensor, "*a k1"]) -> Float[Tensor, "*a k"]:
    """The logits of the probabilities of all classes but the last one, the background, of a softmax.

    Args:
        logits: (..., classes + 1).

    Returns:
        (..., classes) float32.
    """
    log_scores = logits.float().log_softmax(dim=-1)[..., :-1].clamp(max=-1e-6)
    return log_scores - torch.log(-torch.expm1(log_scores))


def laplace_term(
    means: Float[Tensor, "*p 2"],
    scales: Float[Tensor, "*p 2"],
    teacher_means: Float[Tensor, "*p 2"],
    teacher_scales: Float[Tensor, "*p 2"],
    known: Bool[Tensor, "*p"],
) -> LossTerm:
    """Kullback-Leibler divergence from the teacher's Laplace distributions to the student's; the count is the number of points.

    Args:
        means: (..., 2) x, y of the student.
        scales: (..., 2) above 0, of the student.
        teacher_means: (..., 2) x, y of the teacher.
        teacher_scales: (..., 2) above 0, of the teacher.
        known: (...) bool, the points that count.
    """
    scale, expected = scales.float() + MIN_SCALE, teacher_scales.float() + MIN_SCALE
    error = (means.float() - teacher_means.float()).abs()
    divergence = (scale / expected).log() + (expected * (-error / expected).exp() + error) / scale - 1
    return LossTerm(torch.where(known, divergence.sum(dim=-1), 0).sum(), known.sum().float())
