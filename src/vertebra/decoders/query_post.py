"""From the scores and boxes of queries to the few boxes that are shown."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.decoders.query_selection import rows
from vertebra.errors import ConfigError
from vertebra.features import Frame
from vertebra.geometry.boxes import clip_boxes
from vertebra.tasks.detect.targets import DetectDecoded


@dataclass(frozen=True)
class QueryPost:
    """Options of decoding; they may be changed on a trained model.

    Attributes:
        score_floor: boxes with a lower score are dropped. Low on purpose: a user's threshold acts on scores afterwards.
        keep: how many boxes of an image come out at most.
    """

    score_floor: float = 0.01
    keep: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.score_floor < 1:
            raise ConfigError(f"'post.score_floor' must be at least 0 and below 1, got {self.score_floor}")
        if self.keep < 1:
            raise ConfigError(f"'post.keep' must be 1 or more, got {self.keep}")


DEFAULT_QUERY_POST = QueryPost()


def decode_queries(class_logits: Tensor, boxes: Tensor, frame: Frame, post: QueryPost) -> DetectDecoded:
    """The best pairs of a query and a class; queries answer for one object each, so nothing is suppressed.

    Args:
        class_logits: (N, Q, classes), each class for itself (sigmoid).
        boxes: (N, Q, 4) xyxy in canvas pixels; they may reach over the image's edges.
        frame: boxes are cut to its ``sizes``; what lies outside is dropped.
        post: the options.

    Returns:
        D = ``post.keep`` boxes of each image.
    """
    boxes = clip_boxes(boxes.float(), frame.sizes)
    seen = ((boxes[..., 2:] - boxes[..., :2]) > 0).all(dim=-1)
    scores = torch.where(seen[..., None], class_logits.float().sigmoid(), 0.0).flatten(1)
    best, pairs = F.pad(scores, (0, post.keep)).topk(post.keep)
    real = best > post.score_floor
    classes = class_logits.shape[-1]
    pairs = torch.where(real, pairs, 0)
    return DetectDecoded(
        boxes=torch.where(real[..., None], rows(boxes, torch.div(pairs, classes, rounding_mode="floor")), 0.0),
        scores=torch.where(real, best, 0.0),
        labels=torch.where(real, pairs % classes, -1),
        count=real.sum(dim=1),
    )


def decode_exclusive_queries(class_logits: Tensor, boxes: Tensor, frame: Frame, post: QueryPost) -> DetectDecoded:
    """The best queries, each with its best class; for queries that are of one class or of none.

    Args:
        class_logits: (N, Q, classes + 1), the last for "no object" (softmax).
        boxes, frame, post: as for `decode_queries`.

    Returns:
        D = ``post.keep`` boxes of each image.
    """
    boxes = clip_boxes(boxes.float(), frame.sizes)
    seen = ((boxes[..., 2:] - boxes[..., :2]) > 0).all(dim=-1)
    scores, labels = class_logits.float().softmax(dim=-1)[..., :-1].max(dim=-1)
    best, queries = F.pad(torch.where(seen, scores, 0.0), (0, post.keep)).topk(post.keep)
    real = best > post.score_floor
    queries = torch.where(real, queries, 0)
    return DetectDecoded(
        boxes=torch.where(real[..., None], rows(boxes, queries), 0.0),
        scores=torch.where(real, best, 0.0),
        labels=torch.where(real, labels.gather(1, queries), -1),
        count=real.sum(dim=1),
    )
