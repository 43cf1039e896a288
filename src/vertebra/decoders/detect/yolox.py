"""YOLOX: dense detection without anchors, with objectness and matching by cost."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import DEFAULT_POSTPROCESS, NMSPostprocess, decode_dense
from vertebra.decoders.teacher_outputs import aligned_outputs
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.box_coding import decode_deltas
from vertebra.geometry.giou import paired_iou
from vertebra.geometry.points import level_points
from vertebra.layers.option_range import check_range
from vertebra.losses.detection import delta_term
from vertebra.losses.distillation import dense_term
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.objectness import objectness_term, overlap_score_term, squared_iou_term
from vertebra.matching.iou import Match, take, without_unknown
from vertebra.matching.simota import match_by_cost
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets

START = 2.0  # side of a location's initial box, in strides
BOX_WEIGHT = 5.0


class YOLOXOutputs(NamedTuple):
    """Raw outputs at every location.

    Attributes:
        class_logits: (N, A, classes), one sigmoid per class.
        objectness: (N, A) logits.
        boxes: (N, A, 4) float32 xyxy in canvas pixels, not cut to the image.
        levels: (A,) int64, the level of each location.
    """

    class_logits: Tensor
    objectness: Tensor
    boxes: Tensor
    levels: Tensor


class YOLOX(Decoder[YOLOXOutputs, DetectTargets, DetectDecoded]):
    """Finds objects without anchors: each cell predicts objectness, class and box; cells are matched to objects in each step
    by their cost (SimOTA).

    Differences from the paper: levels share their towers, with group normalization by default; a box is relative to a
    square of two strides around the middle of its cell (the paper: one stride at the cell's corner); the L1 loss is used
    in all epochs (the paper: in the last 15), because the IoU loss alone has little gradient for boxes that overlap little,
    and such objects keep a single location.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None: the neck's channels, or 64 to 256.
        depth: convolutions in each tower; None: 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        center_radius: a location within this many strides of an object's center is a candidate for it.
        locations: largest number of locations matched to an object.
        l1: whether the coded boxes also have an L1 loss.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "some"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "objectness", "box", "l1")
    paper: ClassVar[str] = "Ge et al., YOLOX: Exceeding YOLO Series in 2021, 2021, arXiv 2107.08430"

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: DetectLabels,
        *,
        channels: int | None = None,
        depth: int | None = None,
        norm: Norm = "group",
        finest_stride: int | None = None,
        center_radius: float = 2.5,
        locations: int = 10,
        l1: bool = True,
        postprocess: NMSPostprocess = DEFAULT_POSTPROCESS,
    ) -> None:
        super().__init__(in_spec, labels)
        # a smaller radius could leave an object without a location
        check_range("decoder 'yolox'", minimum=0.5, center_radius=center_radius)
        check_range("decoder 'yolox'", minimum=1, locations=locations)
        self.head = DenseHead(in_spec, channels=channels, depth=depth, norm=norm, finest_stride=finest_stride)
        self.in_levels = tuple(self.head.indices)
        self.center_radius = center_radius
        self.locations = locations
        self.l1 = l1
        self.postprocess = postprocess
        self.class_prediction = DensePrediction(self.head.width, 1, labels.class_count, bias=PRIOR_LOGIT)
        self.objectness_prediction = DensePrediction(self.head.width, 1, 1, bias=PRIOR_LOGIT)
        self.box_prediction = DensePrediction(self.head.width, 1, 4)
        self.scales = nn.Parameter(torch.ones(len(self.head.strides)))

    def forward(self, features: Features, proposals: Proposals | None = None) -> YOLOXOutputs:
        """Scores, objectness and boxes at every location."""
        return self._predict(features)[0]

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], YOLOXOutputs]:
        """Cross-entropy of objectness at all locations that are not ignored; class and box of the positive
        ones. The L1 term is 0 over 0 where ``l1`` is off."""
        outputs, deltas, squares = self._predict(features)
        match = without_unknown(self._match(outputs, squares, targets), targets.exhaustive)
        labels, ground_truth = take(targets.labels, match), take(targets.boxes, match)
        overlap = paired_iou(outputs.boxes.detach(), ground_truth)
        zero = outputs.boxes.new_zeros(())
        box = squared_iou_term(outputs.boxes, ground_truth, match.positive)
        terms = {
            "classification": overlap_score_term(
                outputs.class_logits, labels, overlap, match.positive, targets.exhaustive
            ),
            "objectness": objectness_term(outputs.objectness, match.positive, match.ignored),
            "box": LossTerm(BOX_WEIGHT * box.sum, box.count),
            "l1": delta_term(deltas, squares, ground_truth, match.positive, beta=0.0)
            if self.l1
            else LossTerm(zero, zero),
        }
        return terms, outputs

    def distillation(self, outputs: YOLOXOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the scores, which are objectness times class, of all locations, and of the boxes where the teacher has
        a score."""
        taught = aligned_outputs(teacher, features, outputs)
        return dense_term(score_logits(outputs), score_logits(taught), outputs.boxes, taught.boxes)

    def decode(self, outputs: YOLOXOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise non-maximum suppression; a score is objectness times class."""
        return decode_dense(
            score_logits(outputs),
            outputs.boxes,
            frame,
            self.postprocess,
            levels=(outputs.levels, len(self.head.strides)),
        )

    def _match(self, outputs: YOLOXOutputs, squares: Tensor, targets: DetectTargets) -> Match:
        """Matches locations to objects; scores are the geometric mean of class and objectness."""
        scores = score_logits(outputs).sigmoid().sqrt()
        return match_by_cost(
            scores.detach(),
            outputs.boxes.detach(),
            0.5 * (squares[:, :2] + squares[:, 2:]),
            (squares[:, 2] - squares[:, 0]) / START,
            targets.labels,
            targets.boxes,
            targets.crowd,
            targets.count,
            radius=self.center_radius,
            max_locations=self.locations,
        )

    def _predict(self, features: Features) -> tuple[YOLOXOutputs, Tensor, Tensor]:
        """The outputs, the coded boxes (N, A, 4), and the squares (A, 4) that they are coded against."""
        class_maps, box_maps = self.head(features.maps)
        points, levels = level_points(box_maps, self.head.strides)
        half = 0.5 * START * torch.tensor(self.head.strides, dtype=points.dtype, device=points.device)[levels, None]
        squares = torch.cat([points - half, points + half], dim=1)
        logits = torch.cat([self.class_prediction(level) for level in class_maps], dim=1)
        objectness = torch.cat([self.objectness_prediction(level)[..., 0] for level in box_maps], dim=1)
        coded = [
            self.box_prediction(level).float() * scale
            for level, scale in zip(box_maps, self.scales.unbind(), strict=True)
        ]
        deltas = torch.cat(coded, dim=1)
        return YOLOXOutputs(logits, objectness, decode_deltas(deltas, squares), levels), deltas, squares


def score_logits(outputs: YOLOXOutputs) -> Tensor:
    """(N, A, classes) float32, the logits of objectness times class."""
    return product_logits(outputs.class_logits.float(), outputs.objectness.float()[..., None])


def product_logits(first: Tensor, second: Tensor) -> Tensor:
    """The logit of the product of two probabilities given as logits.

    1 / (1 + e^-a) * 1 / (1 + e^-b) is 1 / (1 + e^-a + e^-b + e^-(a + b)).

    Args:
        first, second: logits, broadcast against each other.
    """
    return -torch.logaddexp(torch.logaddexp(-first, -second), -(first + second))
