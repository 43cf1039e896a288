"""The region proposal network: class-agnostic object proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.detect._dense_head import DensePrediction
from vertebra.errors import ConfigError
from vertebra.features import Frame
from vertebra.geometry.anchors import level_anchors, level_numbers
from vertebra.geometry.box_coding import decode_deltas
from vertebra.geometry.boxes import clip_boxes
from vertebra.geometry.nms import nms_mask
from vertebra.geometry.points import Spacing
from vertebra.layers.init import init_conv_
from vertebra.losses.detection import delta_term
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.proposals import objectness_term
from vertebra.matching.iou import match_by_iou, take, without_unknown
from vertebra.matching.sampling import sample
from vertebra.tasks.detect.targets import DetectTargets

SAMPLES, POSITIVE_SHARE = 256, 0.5


@dataclass(frozen=True)
class ProposalPostprocess:
    """Options of proposal selection; they may be changed on a trained model.

    Attributes:
        score_threshold: proposals with a lower objectness are dropped.
        nms_iou: of two proposals of a level that overlap by more than this, the better one stays.
        pre_nms_topk_per_level: largest number of proposals of each level before non-maximum suppression.
        max_detections: largest number of proposals of an image.
    """

    score_threshold: float = 0.0
    nms_iou: float = 0.7
    pre_nms_topk_per_level: int = 1000
    max_detections: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold < 1 or not 0 <= self.nms_iou <= 1:
            raise ConfigError(f"'proposals': 'score_threshold' and 'nms_iou' must be between 0 and 1, got {self}")
        if min(self.pre_nms_topk_per_level, self.max_detections) < 1:
            raise ConfigError(
                f"'proposals': 'pre_nms_topk_per_level' and 'max_detections' must be at least 1, got {self}"
            )


class Proposed(NamedTuple):
    """Raw outputs at every anchor.

    Attributes:
        logits: (N, A) objectness.
        deltas: (N, A, 4) float32, boxes relative to their anchors.
        anchors: (A, 4) xyxy in canvas pixels.
        levels: (A,) int64.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor
    levels: Tensor


class ProposalNetwork(nn.Module):
    """Predicts at each anchor an objectness score and a box.

    Ren et al., Faster R-CNN, NeurIPS 2015, arXiv 1506.01497, section 3.1; on all levels of a pyramid after Lin et al., CVPR
    2017, arXiv 1612.03144.

    Args:
        width: channels of every level.
        depth: 3x3 convolutions before the predictions.
        strides: of the levels.
        shapes: (width, height) of each level's anchors.
        offset: position of an anchor's center in its cell.
        spacing: see `vertebra.geometry.points.cell_steps`.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        strides: Sequence[int],
        shapes: Sequence[Sequence[tuple[float, float]]],
        offset: float,
        spacing: Spacing = "stride",
    ) -> None:
        super().__init__()
        self.strides, self.shapes = list(strides), shapes
        self.offset, self.spacing = offset, spacing
        self.per_cell = len(shapes[0])
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            init_conv_(conv, rectified=True)
        self.objectness = DensePrediction(width, self.per_cell, 1, kernel_size=1)
        self.boxes = DensePrediction(width, self.per_cell, 4, kernel_size=1)

    def forward(self, maps: Sequence[Tensor]) -> Proposed:
        """Objectness and boxes at every anchor of the levels (N, width, h, w)."""
        logits, deltas = [], []
        for level in maps:
            for conv in self.convs:
                level = F.relu(conv(level))
            logits.append(self.objectness(level)[..., 0])
            deltas.append(self.boxes(level))
        anchors = level_anchors(maps, self.strides, self.shapes, offset=self.offset, spacing=self.spacing)
        levels = level_numbers(maps, self.per_cell)
        return Proposed(torch.cat(logits, dim=1), torch.cat(deltas, dim=1).float(), anchors, levels)

    def choose(self, proposed: Proposed, frame: Frame, postprocess: ProposalPostprocess) -> tuple[Tensor, Tensor]:
        """The best proposals of each image.

        Returns:
            (N, P, 4) xyxy clipped to the images, padded with 0, and (N, P) their scores, 0 for padding.
        """
        logits = proposed.logits.detach().float()
        boxes = decode_deltas(proposed.deltas.detach(), proposed.anchors)
        picked = [
            self._best_of_level(logits, boxes, proposed.levels == number, postprocess.pre_nms_topk_per_level)
            for number in range(len(self.strides))
        ]
        scores, boxes = (torch.cat(part, dim=1) for part in zip(*picked, strict=True))
        levels = torch.arange(len(self.strides), device=scores.device).repeat_interleave(
            postprocess.pre_nms_topk_per_level
        )
        boxes = clip_boxes(boxes, frame.sizes)
        valid = ((boxes[..., 2:] - boxes[..., :2]) > 1e-3).all(dim=-1) & (scores > postprocess.score_threshold)
        kept = nms_mask(
            boxes,
            torch.where(valid, scores, 0.0),
            torch.where(valid, levels.expand_as(scores), -1),
            postprocess.nms_iou,
            postprocess.max_detections,
        )
        best, order = F.pad(torch.where(kept, scores, 0.0), (0, postprocess.max_detections)).topk(
            postprocess.max_detections
        )
        rows = torch.where(best > 0, order, 0)
        chosen = boxes.gather(1, rows[..., None].expand(-1, -1, 4))
        return torch.where((best > 0)[..., None], chosen, 0.0), best

    @staticmethod
    def _best_of_level(logits: Tensor, boxes: Tensor, on_level: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Scores (N, count), 0 for padding, and boxes (N, count, 4) of the best anchors of one level."""
        scores = torch.where(on_level, logits.sigmoid(), -1.0)
        best, order = F.pad(scores, (0, count), value=-1.0).topk(count)
        rows = torch.where(best >= 0, order, 0)
        return best.clamp(min=0), boxes.gather(1, rows[..., None].expand(-1, -1, 4))

    def loss(self, proposed: Proposed, targets: DetectTargets, draw: bool) -> dict[str, LossTerm]:
        """Objectness of a sample of anchors, and the boxes of the positive ones.

        Args:
            draw: whether the sample is random; otherwise the first anchors of each kind.
        """
        match = match_by_iou(
            proposed.anchors, targets.boxes, targets.crowd, targets.count, foreground=0.7, background=0.3
        )
        match = without_unknown(match, targets.exhaustive)
        positive, counted = sample(match, SAMPLES, POSITIVE_SHARE, draw)
        ground_truth = take(targets.boxes, match)
        box = delta_term(proposed.deltas, proposed.anchors, ground_truth, positive, beta=1 / 9)
        return {
            "objectness": objectness_term(proposed.logits, positive, counted),
            "proposal_box": LossTerm(box.sum, counted.sum().float()),
        }
