"""YOLOX: dense detection without anchors, with objectness and matching by cost."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import Decoder
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import DEFAULT_POST, NMSPostprocess, decode_dense
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.box_coding import decode_deltas
from vertebra.geometry.giou import paired_iou
from vertebra.geometry.points import level_points
from vertebra.layers.option_range import check_range
from vertebra.losses.detection import delta_term
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.objectness import objectness_term, overlap_score_term, squared_iou_term
from vertebra.matching.iou import Match, take
from vertebra.matching.simota import match_by_cost
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets

START = 2.0  # side of the box that a location starts from, in strides
BOX_WEIGHT = 5.0


class YOLOXOutputs(NamedTuple):
    """Raw outputs at every location.

    Attributes:
        class_logits: (N, A, classes), each class for itself (sigmoid).
        objectness: (N, A) logits.
        boxes: (N, A, 4) float32 xyxy in canvas pixels, not cut to the image.
        levels: (A,) int64, the level of each location.
    """

    class_logits: Tensor
    objectness: Tensor
    boxes: Tensor
    levels: Tensor


class YOLOX(Decoder[YOLOXOutputs, DetectTargets, DetectDecoded]):
    """Finds objects without anchors: each cell tells whether there is an object, its class, and its box; which cells answer
    for an object is chosen anew in each step, by what they would cost (SimOTA).

    Differences from the paper: levels share their towers, which normalize by groups unless told otherwise; a box is
    told relative to a square of two strides around the middle of its cell, where the paper starts from one stride at
    the cell's corner; the L1 loss is used all the time, where the paper adds it for the last 15 epochs: by IoU alone an
    object hardly learns that its boxes overlap little at first, and so does not come to have more than one location.

    Args:
        in_spec: the features that come in.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None fits the features (the neck's, or 64 to 256).
        depth: convolutions in each tower; None is 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None is 8 if two levels are left then, otherwise 4.
        center_radius: a location within this many strides of an object's center may answer for it.
        locations: how many locations answer for an object at most.
        l1: whether the coded boxes learn by their L1 distance to the object's, too.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: there is no level to stand on.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
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
        postprocess: NMSPostprocess = DEFAULT_POST,
    ) -> None:
        super().__init__(in_spec, labels)
        # within half a stride of any object's center lies the middle of a cell
        check_range("decoder 'yolox'", least=0.5, center_radius=center_radius)
        check_range("decoder 'yolox'", least=1, locations=locations)
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
        """Cross-entropy of objectness at all locations that are not ignored; class and box of those that answer for an
        object. The L1 term is 0 over 0 where the decoder was built without it."""
        outputs, deltas, squares = self._predict(features)
        match = self._match(outputs, squares, targets)
        labels, ground_truth = take(targets.labels, match), take(targets.boxes, match)
        overlap = paired_iou(outputs.boxes.detach(), ground_truth)
        zero = outputs.boxes.new_zeros(())
        box = squared_iou_term(outputs.boxes, ground_truth, match.positive)
        terms = {
            "classification": overlap_score_term(outputs.class_logits, labels, overlap, match.positive),
            "objectness": objectness_term(outputs.objectness, match.positive, match.ignored),
            "box": LossTerm(BOX_WEIGHT * box.sum, box.count),
            "l1": delta_term(deltas, squares, ground_truth, match.positive, beta=0.0)
            if self.l1
            else LossTerm(zero, zero),
        }
        return terms, outputs

    def decode(self, outputs: YOLOXOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise suppression; a score is objectness times class."""
        logits = product_logits(outputs.class_logits.float(), outputs.objectness.float()[..., None])
        return decode_dense(
            logits, outputs.boxes, frame, self.postprocess, levels=(outputs.levels, len(self.head.strides))
        )

    def _match(self, outputs: YOLOXOutputs, squares: Tensor, targets: DetectTargets) -> Match:
        """Which location answers for which object; scores are the geometric mean of class and objectness."""
        scores = product_logits(outputs.class_logits.float(), outputs.objectness.float()[..., None]).sigmoid().sqrt()
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
            most=self.locations,
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


def product_logits(first: Tensor, second: Tensor) -> Tensor:
    """The logits of the product of two chances that are given as logits.

    1 / (1 + e^-a) * 1 / (1 + e^-b) is 1 / (1 + e^-a + e^-b + e^-(a + b)).

    Args:
        first, second: logits, broadcast against each other.
    """
    return -torch.logaddexp(torch.logaddexp(-first, -second), -(first + second))
