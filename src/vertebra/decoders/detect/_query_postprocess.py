"""Postprocessing of query-based detectors: from the scores and boxes of queries to the final detections."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.decoders.detect._query_selection import rows
from vertebra.errors import ConfigError
from vertebra.features import Frame
from vertebra.geometry.boxes import clip_boxes
from vertebra.tasks.detect.targets import DetectDecoded


@dataclass(frozen=True)
class QueryPostprocess:
    """Options of decoding; they may be changed on a trained model.

    Attributes:
        score_threshold: boxes with a lower score are dropped. Low on purpose: the user's threshold is applied afterwards.
        max_detections: largest number of boxes of an image.
    """

    score_threshold: float = 0.01
    max_detections: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold < 1:
            raise ConfigError(
                f"'postprocess.score_threshold' must be at least 0 and below 1, got {self.score_threshold}"
            )
        if self.max_detections < 1:
            raise ConfigError(f"'postprocess.max_detections' must be 1 or more, got {self.max_detections}")


DEFAULT_QUERY_POST = QueryPostprocess()


def decode_queries(class_logits: Tensor, boxes: Tensor, frame: Frame, postprocess: QueryPostprocess) -> DetectDecoded:
    """The best pairs of a query and a class; each query is one object, so there is no non-maximum suppression.

    Args:
        class_logits: (N, Q, classes), one sigmoid per class.
        boxes: (N, Q, 4) xyxy in canvas pixels; they may extend past the image.
        frame: boxes are clipped to its ``sizes``; boxes outside are dropped.
        postprocess: the options.

    Returns:
        D = ``postprocess.max_detections`` boxes of each image.
    """
    boxes = clip_boxes(boxes.float(), frame.sizes)
    valid = ((boxes[..., 2:] - boxes[..., :2]) > 0).all(dim=-1)
    scores = torch.where(valid[..., None], class_logits.float().sigmoid(), 0.0).flatten(1)
    best, pairs = F.pad(scores, (0, postprocess.max_detections)).topk(postprocess.max_detections)
    real = best > postprocess.score_threshold
    classes = class_logits.shape[-1]
    pairs = torch.where(real, pairs, 0)
    return DetectDecoded(
        boxes=torch.where(real[..., None], rows(boxes, torch.div(pairs, classes, rounding_mode="floor")), 0.0),
        scores=torch.where(real, best, 0.0),
        labels=torch.where(real, pairs % classes, -1),
        count=real.sum(dim=1),
    )


def decode_exclusive_queries(
    class_logits: Tensor, boxes: Tensor, frame: Frame, postprocess: QueryPostprocess
) -> DetectDecoded:
    """The best queries, each with its best class; for queries with one softmax over the classes and no object.

    Args:
        class_logits: (N, Q, classes + 1), the last for "no object" (softmax).
        boxes, frame, postprocess: as for `decode_queries`.

    Returns:
        D = ``postprocess.max_detections`` boxes of each image.
    """
    boxes = clip_boxes(boxes.float(), frame.sizes)
    valid = ((boxes[..., 2:] - boxes[..., :2]) > 0).all(dim=-1)
    scores, labels = class_logits.float().softmax(dim=-1)[..., :-1].max(dim=-1)
    best, queries = F.pad(torch.where(valid, scores, 0.0), (0, postprocess.max_detections)).topk(
        postprocess.max_detections
    )
    real = best > postprocess.score_threshold
    queries = torch.where(real, queries, 0)
    return DetectDecoded(
        boxes=torch.where(real[..., None], rows(boxes, queries), 0.0),
        scores=torch.where(real, best, 0.0),
        labels=torch.where(real, labels.gather(1, queries), -1),
        count=real.sum(dim=1),
    )
