"""Postprocessing of dense detectors of rotated boxes: suppression by rotated IoU, in plain tensor operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.decoders.detect._nms_postprocess import NMSPostprocess, dense_candidates
from vertebra.features import Frame
from vertebra.geometry.boxes import clip_boxes
from vertebra.geometry.nms import greedy_mask
from vertebra.geometry.rectangles import hulls, rotated_iou
from vertebra.losses.rotated import decode_corners
from vertebra.tasks.rotated_boxes.targets import RotatedBoxDecoded

DEFAULT_POSTPROCESS = NMSPostprocess(nms_iou=0.3, pre_nms_topk=400)
"""Rotated boxes of neighbors hardly overlap, so fewer candidates and a lower IoU suffice than for upright ones; every pair of
candidates is compared."""


def unit_vectors(raw: Tensor) -> Tensor:
    """Raw outputs (..., 2) as vectors of length 1; shorter where they are nearly 0, so that gradients are finite."""
    return raw / (raw.square().sum(dim=-1, keepdim=True) + 1e-6).sqrt()


def decode_rotated(
    class_logits: Tensor,
    boxes: Tensor,
    frame: Frame,
    postprocess: NMSPostprocess,
    quality_logits: Tensor | None = None,
    levels: tuple[Tensor, int] | None = None,
) -> RotatedBoxDecoded:
    """The best rotated boxes of each image; all shapes are fixed by ``postprocess``.

    Args:
        class_logits: (N, A, classes), one sigmoid per class.
        boxes: (N, A, 6) coded, see `vertebra.losses.rotated`, in canvas pixels.
        frame: boxes whose upright box is outside of its ``sizes`` are dropped.
        postprocess: the options.
        quality_logits, levels: see `vertebra.decoders.detect._nms_postprocess.decode_dense`.

    Returns:
        D = ``postprocess.max_detections`` boxes of each image.
    """
    scores, labels, candidates = dense_candidates(class_logits, boxes, postprocess, quality_logits, levels)
    corners = decode_corners(candidates)
    missing = max(0, postprocess.max_detections - scores.shape[1])
    if missing:
        corners = F.pad(corners, (0, 0, 0, 0, 0, missing))
        scores, labels = F.pad(scores, (0, missing)), F.pad(labels, (0, missing))
    upright = clip_boxes(hulls(corners), frame.sizes)
    valid = (upright[..., 2:] > upright[..., :2]).all(dim=-1) & (scores > postprocess.score_threshold)
    groups = torch.zeros_like(labels) if postprocess.class_agnostic else labels
    kept = greedy_mask(
        rotated_iou(corners, corners) > postprocess.nms_iou,
        torch.where(valid, scores, 0.0),
        torch.where(valid, groups, -1),
    )
    best, order = torch.where(kept, scores, 0.0).topk(postprocess.max_detections)
    real = best > 0
    chosen = corners.flatten(2).gather(1, order[..., None].expand(-1, -1, 8))
    around = upright.gather(1, order[..., None].expand(-1, -1, 4))
    return RotatedBoxDecoded(
        corners=torch.where(real[..., None], chosen, 0.0).reshape(*order.shape, 4, 2),
        boxes=torch.where(real[..., None], around, 0.0),
        scores=best,
        labels=torch.where(real, labels.gather(1, order), -1),
        count=real.sum(dim=1),
    )
