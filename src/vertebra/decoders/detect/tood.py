"""TOOD: dense detection without anchors, with task-aligned matching."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import DEFAULT_POSTPROCESS, NMSPostprocess, decode_dense
from vertebra.decoders.teacher_outputs import aligned_outputs
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.box_coding import decode_distances, encode_distances
from vertebra.geometry.points import level_points
from vertebra.layers.option_range import check_range
from vertebra.losses.distillation import dense_term
from vertebra.losses.distribution import (
    expected_bin,
    quality_score_loss,
    weighted_distribution_sum,
    weighted_giou_sum,
)
from vertebra.losses.loss_term import LossTerm
from vertebra.matching.iou import take
from vertebra.matching.task_aligned import match_by_alignment
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets

START = 1.0  # initial distance of each side of a box from its location, in strides
BOX_WEIGHT, DISTRIBUTION_WEIGHT = 2.5, 0.5


class TOODOutputs(NamedTuple):
    """Raw outputs at every location.

    Attributes:
        class_logits: (N, A, classes), one sigmoid per class.
        boxes: (N, A, 4) float32 xyxy in canvas pixels, not cut to the image.
        levels: (A,) int64, the level of each location.
    """

    class_logits: Tensor
    boxes: Tensor
    levels: Tensor


class TOOD(Decoder[TOODOutputs, DetectTargets, DetectDecoded]):
    """Finds objects without anchors; the locations with the best class score and box together are matched to each object, so
    that a high score means an accurate box. The distance to each side is predicted as a distribution over bins.

    Differences from the paper: plain towers for classes and boxes instead of the task-aligned head, and boxes as
    distributions, as in PP-YOLOE and similar to YOLOv8; levels share their towers, with group normalization; boxes start
    with sides of two strides, so that task-aligned matching works from the first step, without a warm-up by another
    matching; objects smaller than a cell have locations, too; and the target score of each object's best location is at
    least one half, with a weight that does not depend on it, so that small and rare objects are learned in a few epochs.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None: the neck's channels, or 64 to 256.
        depth: convolutions in each tower; None: 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        bins: number of bins of the distance to each side, the first of which is 0.
        bin_width: from one bin to the next, in strides. A box reaches bins - 1 such widths to each side, 480 pixels at
            stride 32; None is 1 where the levels' strides span a factor of 4 or more, otherwise 2.
        locations: largest number of locations matched to an object.
        alpha: exponent of the score in their alignment.
        beta: exponent of the IoU in their alignment.
        min_quality: minimum target score of an object's best location; the paper has 0.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "full"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box", "distribution")
    paper: ClassVar[str] = (
        "Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV 2021, arXiv 2108.07755; distributions: Li et "
        "al., Generalized Focal Loss, NeurIPS 2020, arXiv 2006.04388; plain towers and the weights of the box losses: "
        "Xu et al., PP-YOLOE, 2022, arXiv 2203.16250"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: DetectLabels,
        *,
        channels: int | None = None,
        depth: int | None = None,
        norm: Norm = "group",
        finest_stride: int | None = None,
        bins: int = 16,
        bin_width: float | None = None,
        locations: int = 13,
        alpha: float = 1.0,
        beta: float = 6.0,
        min_quality: float = 0.5,
        postprocess: NMSPostprocess = DEFAULT_POSTPROCESS,
    ) -> None:
        super().__init__(in_spec, labels)
        check_range("decoder 'tood'", minimum=2, bins=bins)
        check_range("decoder 'tood'", minimum=1, locations=locations)
        check_range("decoder 'tood'", minimum=0.05, bin_width=bin_width)
        check_range("decoder 'tood'", minimum=0, alpha=alpha, beta=beta)
        check_range("decoder 'tood'", minimum=0, maximum=1, min_quality=min_quality)
        self.head = DenseHead(in_spec, channels=channels, depth=depth, norm=norm, finest_stride=finest_stride)
        self.in_levels = tuple(self.head.indices)
        self.bins = bins
        self.bin_width = fitting_bin_width(self.head.strides) if bin_width is None else bin_width
        self.locations = locations
        self.alpha = alpha
        self.beta = beta
        self.min_quality = min_quality
        self.postprocess = postprocess
        self.class_prediction = DensePrediction(self.head.width, 1, labels.class_count, bias=PRIOR_LOGIT)
        self.box_prediction = DensePrediction(self.head.width, 4, bins)
        self.scales = nn.Parameter(torch.ones(len(self.head.strides)))
        start = start_logits(bins, START / self.bin_width)
        with torch.no_grad():
            self.box_prediction.bias.copy_(start.repeat(4))  # type: ignore[union-attr]

    def forward(self, features: Features, proposals: Proposals | None = None) -> TOODOutputs:
        """Scores and boxes at every location."""
        return self._predict(features)[0]

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], TOODOutputs]:
        """Scores of all locations that are not ignored; GIoU and distribution of the positive ones, weighted by their target
        scores. The count of all terms is the sum of these weights."""
        outputs, sides, points, strides = self._predict(features)
        match, quality = match_by_alignment(
            outputs.class_logits.detach().float().sigmoid(),
            outputs.boxes.detach(),
            points,
            strides,
            targets.labels,
            targets.boxes,
            targets.crowd,
            targets.count,
            max_locations=self.locations,
            alpha=self.alpha,
            beta=self.beta,
            min_quality=self.min_quality,
        )
        labels, ground_truth = take(targets.labels, match), take(targets.boxes, match)
        score = quality_score_loss(outputs.class_logits, labels, quality, match.positive, targets.exhaustive)
        distances = encode_distances(ground_truth, points) / (self.bin_width * strides[:, None])
        count = quality.sum()
        terms = {
            "classification": LossTerm(torch.where(match.ignored, 0.0, score).sum(), count),
            "box": LossTerm(BOX_WEIGHT * weighted_giou_sum(outputs.boxes, ground_truth, quality), count),
            "distribution": LossTerm(DISTRIBUTION_WEIGHT * weighted_distribution_sum(sides, distances, quality), count),
        }
        return terms, outputs

    def distillation(self, outputs: TOODOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the scores of all locations, and of the boxes where the teacher has a score."""
        taught = aligned_outputs(teacher, features, outputs)
        return dense_term(outputs.class_logits, taught.class_logits, outputs.boxes, taught.boxes)

    def decode(self, outputs: TOODOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise non-maximum suppression."""
        levels = (outputs.levels, len(self.head.strides))
        return decode_dense(outputs.class_logits, outputs.boxes, frame, self.postprocess, levels=levels)

    def _predict(self, features: Features) -> tuple[TOODOutputs, Tensor, Tensor, Tensor]:
        """The outputs, the logits of each side's distance (N, A, 4, bins), the points (A, 2) and their strides (A,)."""
        class_maps, box_maps = self.head(features.maps)
        points, levels = level_points(box_maps, self.head.strides)
        strides = torch.tensor(self.head.strides, dtype=points.dtype, device=points.device)[levels]
        logits = torch.cat([self.class_prediction(level) for level in class_maps], dim=1)
        side_logits = [
            self.box_prediction(level).float() * scale
            for level, scale in zip(box_maps, self.scales.unbind(), strict=True)
        ]
        sides = torch.cat(side_logits, dim=1).reshape(logits.shape[0], -1, 4, self.bins)
        distances = expected_bin(sides) * (self.bin_width * strides[:, None])
        return TOODOutputs(logits, decode_distances(distances, points), levels), sides, points, strides


def fitting_bin_width(strides: Sequence[int]) -> float:
    """Width of a bin in strides; wider where the levels are few, so that large boxes can be expressed."""
    return 1.0 if max(strides) >= 4 * min(strides) else 2.0


def start_logits(bins: int, mean: float) -> Tensor:
    """(bins,) logits of a geometric distribution over bins with a mean of about ``mean`` bins."""
    return math.log(mean / (1 + mean)) * torch.arange(bins, dtype=torch.float32)
