"""Postprocessing of dense detectors: from scores and boxes at every anchor or location to the final detections."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.errors import ConfigError
from vertebra.features import Frame
from vertebra.geometry.boxes import clip_boxes
from vertebra.geometry.nms import nms_mask
from vertebra.tasks.detect.targets import DetectDecoded


@dataclass(frozen=True)
class NMSPostprocess:
    """Options of decoding; they may be changed on a trained model.

    Attributes:
        score_threshold: boxes with a lower score are dropped. Low on purpose: the user's threshold is applied afterwards.
        nms_iou: of two boxes of a class that overlap by more than this, the better one stays.
        pre_nms_topk: largest number of an image's boxes before non-maximum suppression.
        max_detections: largest number of boxes of an image.
        pre_nms_topk_per_level: largest number of boxes of each level of a dense detector; None: only ``pre_nms_topk``, over
            all levels. torchvision's models use 1000.
        pre_nms_topk_per_class: largest number of boxes of each class of an SSD; None: only ``pre_nms_topk``, over all
            classes. torchvision's models use 300 or 400.
        class_agnostic: whether boxes of different classes suppress each other too, so that an object has one class. Off by
            default: it costs average precision where objects of two classes overlap, or the better class is the wrong one.
    """

    score_threshold: float = 0.01
    nms_iou: float = 0.5
    pre_nms_topk: int = 1000
    max_detections: int = 100
    pre_nms_topk_per_level: int | None = None
    pre_nms_topk_per_class: int | None = None
    class_agnostic: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold < 1:
            raise ConfigError(
                f"'postprocess.score_threshold' must be at least 0 and below 1, got {self.score_threshold}"
            )
        if not 0 <= self.nms_iou <= 1:
            raise ConfigError(f"'postprocess.nms_iou' must be between 0 and 1, got {self.nms_iou}")
        for name in ("pre_nms_topk_per_level", "pre_nms_topk_per_class"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"'postprocess.{name}' must be at least 1, got {value}")
        if not 1 <= self.max_detections <= self.pre_nms_topk:
            raise ConfigError(
                f"'postprocess.max_detections' must be at least 1 and at most 'postprocess.pre_nms_topk' "
                f"({self.pre_nms_topk}), got {self.max_detections}"
            )


DEFAULT_POSTPROCESS = NMSPostprocess()


def decode_dense(
    class_logits: Tensor,
    boxes: Tensor,
    frame: Frame,
    postprocess: NMSPostprocess,
    quality_logits: Tensor | None = None,
    levels: tuple[Tensor, int] | None = None,
) -> DetectDecoded:
    """The best boxes of each image: scores, candidates, clipping, suppression; all shapes are fixed by ``postprocess``.

    Args:
        class_logits: (N, A, classes), one sigmoid per class.
        boxes: (N, A, 4) xyxy in canvas pixels; they may extend past the image.
        frame: boxes are clipped to its ``sizes``; boxes outside are dropped.
        postprocess: the options.
        quality_logits: (N, A) or None. The score is then the geometric mean of class and quality.
        levels: (A,) int64, the level of each box, and the number of levels; needed for ``postprocess.pre_nms_topk_per_level``.

    Returns:
        D = ``postprocess.max_detections`` boxes of each image.
    """
    scores, labels, boxes = dense_candidates(class_logits, boxes, postprocess, quality_logits, levels)
    return nms_postprocess(boxes, scores, labels, frame, postprocess)


def dense_candidates(
    class_logits: Tensor,
    boxes: Tensor,
    postprocess: NMSPostprocess,
    quality_logits: Tensor | None = None,
    levels: tuple[Tensor, int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs of a box and a class with the best scores, for suppression.

    Args:
        boxes: (N, A, D), the numbers of a box.
        class_logits, postprocess, quality_logits, levels: as in `decode_dense`.

    Returns:
        Scores (N, K), 0 for padding, labels (N, K), and boxes (N, K, D).
    """
    logits, boxes = class_logits.float(), boxes.float()
    best = _score(logits.amax(dim=-1), quality_logits)
    if postprocess.pre_nms_topk_per_level is None or levels is None:
        return _candidates(logits, boxes, best, postprocess.pre_nms_topk, quality_logits)
    numbers, count = levels
    parts = [
        _candidates(
            logits,
            boxes,
            torch.where(numbers == level, best, -1.0),
            postprocess.pre_nms_topk_per_level,
            quality_logits,
        )
        for level in range(count)
    ]
    scores, labels, boxes = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return scores, labels, boxes


def decode_classes(probabilities: Tensor, boxes: Tensor, frame: Frame, postprocess: NMSPostprocess) -> DetectDecoded:
    """The best boxes of each image where the classes of a box share one softmax.

    Args:
        probabilities: (N, A, classes), without the background.
        boxes: (N, A, 4) xyxy in canvas pixels; they may extend past the image.
        frame: boxes are clipped to its ``sizes``; boxes outside are dropped.
        postprocess: the options.

    Returns:
        D = ``postprocess.max_detections`` boxes of each image.
    """
    count = postprocess.pre_nms_topk_per_class or postprocess.pre_nms_topk
    scores, rows = F.pad(probabilities.float().transpose(1, 2), (0, count)).topk(count)  # (N, classes, count)
    classes = scores.shape[1]
    best, order = scores.flatten(1).topk(min(postprocess.pre_nms_topk, classes * count))
    labels = torch.div(order, count, rounding_mode="floor")
    rows = torch.where(best > 0, rows.flatten(1).gather(1, order), 0)
    return nms_postprocess(_rows(boxes.float(), rows), best, labels, frame, postprocess)


def nms_postprocess(
    boxes: Tensor, scores: Tensor, labels: Tensor, frame: Frame, postprocess: NMSPostprocess, *, min_side: float = 0.0
) -> DetectDecoded:
    """Clips candidates to their image, applies non-maximum suppression (class-wise, or over all classes), and keeps the best.

    Args:
        boxes: (N, K, 4) xyxy in canvas pixels; K is padded to ``postprocess.max_detections`` where it is less.
        scores: (N, K), 0 for padding.
        labels: (N, K) int64.
        frame: boxes are clipped to its ``sizes``.
        postprocess: the options.
        min_side: a box whose width or height is not above this in pixels is dropped.

    Returns:
        D = ``postprocess.max_detections`` boxes of each image.
    """
    missing = max(0, postprocess.max_detections - scores.shape[1])
    if missing:
        boxes = F.pad(boxes, (0, 0, 0, missing))
        scores, labels = F.pad(scores, (0, missing)), F.pad(labels, (0, missing))
    boxes = clip_boxes(boxes, frame.sizes)
    valid = ((boxes[..., 2:] - boxes[..., :2]) > min_side).all(dim=-1) & (scores > postprocess.score_threshold)
    groups = torch.zeros_like(labels) if postprocess.class_agnostic else labels
    kept = nms_mask(
        boxes,
        torch.where(valid, scores, 0.0),
        torch.where(valid, groups, -1),
        postprocess.nms_iou,
        postprocess.max_detections,
    )
    best, order = torch.where(kept, scores, 0.0).topk(postprocess.max_detections)
    real = best > 0
    return DetectDecoded(
        boxes=torch.where(real[..., None], _rows(boxes, order), 0.0),
        scores=best,
        labels=torch.where(real, labels.gather(1, order), -1),
        count=real.sum(dim=1),
    )


def _candidates(
    logits: Tensor, boxes: Tensor, best: Tensor, count: int, quality_logits: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``count`` best pairs of a box and a class: scores (N, K) with 0 for padding, labels (N, K), boxes (N, K, 4).

    ``best`` (N, A): each box's score in its best class, below 0 where it is left out.

    The K boxes that are best in their best class hold all of the K best pairs, so the full table of scores is not
    sorted. Candidates are padded before ``topk``: there may be fewer than K.
    """
    ranked, indices = F.pad(best, (0, count), value=-1.0).topk(count)
    real = ranked >= 0
    indices = torch.where(real, indices, 0)
    quality = None if quality_logits is None else quality_logits.gather(1, indices)[..., None]
    table = torch.where(real[..., None], _score(_rows(logits, indices), quality), 0.0)
    scores, pairs = table.flatten(1).topk(count)
    classes = logits.shape[-1]
    labels = pairs % classes
    rows = indices.gather(1, torch.div(pairs, classes, rounding_mode="floor"))
    return scores, labels, _rows(boxes, rows)


def _score(logits: Tensor, quality_logits: Tensor | None) -> Tensor:
    if quality_logits is None:
        return logits.sigmoid()
    return (logits.sigmoid() * quality_logits.float().sigmoid()).sqrt()


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """(N, K, D) rows of (N, A, D), by an index (N, K)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
