"""RetinaNet for rotated boxes: dense detection with anchors and focal loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from vertebra.decoders.base import Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import NMSPostprocess
from vertebra.decoders.rotated_boxes._rotated_postprocess import DEFAULT_POSTPROCESS, decode_rotated, unit_vectors
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.anchors import level_anchors, level_numbers, level_shapes, octaves_for
from vertebra.geometry.box_coding import GREATEST_LOG_SCALE
from vertebra.geometry.boxes import to_center_size
from vertebra.geometry.rectangles import hulls
from vertebra.losses.detection import focal_term
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.rotated import angle_term, divergence_term, encode_corners
from vertebra.matching.iou import match_by_iou, take
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.targets import RotatedBoxDecoded, RotatedBoxTargets


class RotatedRetinaNetOutputs(NamedTuple):
    """Raw outputs at every anchor.

    Attributes:
        class_logits: (N, A, classes), one sigmoid per class.
        boxes: (N, A, 6) float32, coded as in `vertebra.losses.rotated`, in canvas pixels.
        levels: (A,) int64, the level of each anchor.
    """

    class_logits: Tensor
    boxes: Tensor
    levels: Tensor


class RotatedRetinaNet(Decoder[RotatedRetinaNetOutputs, RotatedBoxTargets, RotatedBoxDecoded]):
    """Finds objects and their rotated boxes from upright anchors: at each cell of each level, anchors of several sizes and shapes
    have a score for every class and the center, sides and angle of a box.

    Differences from the paper: those of the decoder ``retinanet``; anchors are matched with the upright boxes around the objects;
    twice the angle is predicted as a vector, which has no jump; boxes have the loss by the Kullback-Leibler divergence of normal
    distributions (Yang et al., NeurIPS 2021, arXiv 2106.01883), and a term for the angle of squares, which that loss does not see.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None: the neck's channels, or 64 to 256.
        depth: convolutions in each tower; None: 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        anchor_scale: side of a square anchor at octave 0, in strides.
        octaves: sizes of a cell's anchors, as logarithms (base 2) of multiples of ``anchor_scale``; None: by the number of levels,
            -2/3, 0, 2/3 on three or more.
        aspect_ratios: height / width of the anchors.
        min_anchors_per_object: least number of anchors matched to each object, whatever their overlap; the paper has 1.
        postprocess: options of decoding; IoUs are those of the rotated boxes.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "rotated_boxes"
    scope_use: ClassVar[ScopeUse] = "full"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box", "angle")
    neck_defaults: ClassVar[Mapping[str, Any]] = {"extra_levels": 2}  # P6 and P7, for large objects
    paper: ClassVar[str] = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002"

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: RotatedBoxLabels,
        *,
        channels: int | None = None,
        depth: int | None = None,
        norm: Norm = "group",
        finest_stride: int | None = None,
        anchor_scale: float = 4.0,
        octaves: tuple[float, ...] | None = None,
        aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        min_anchors_per_object: int = 9,
        postprocess: NMSPostprocess = DEFAULT_POSTPROCESS,
    ) -> None:
        super().__init__(in_spec, labels)
        self.head = DenseHead(in_spec, channels=channels, depth=depth, norm=norm, finest_stride=finest_stride)
        self.in_levels = tuple(self.head.indices)
        sizes = octaves_for(self.head.strides) if octaves is None else tuple(octaves)
        if anchor_scale <= 0 or not sizes or not aspect_ratios or min(aspect_ratios) <= 0:
            raise ConfigError(
                "'anchor_scale' and 'aspect_ratios' must be above 0, 'octaves' must name at least one size"
            )
        if min_anchors_per_object < 0:
            raise ConfigError(f"'min_anchors_per_object' must be 0 or more, got {min_anchors_per_object}")
        self.shapes = level_shapes(self.head.strides, scale=anchor_scale, octaves=sizes, aspect_ratios=aspect_ratios)
        self.min_anchors_per_object = min_anchors_per_object
        self.postprocess = postprocess
        self.per_cell = len(self.shapes[0])
        self.class_prediction = DensePrediction(self.head.width, self.per_cell, labels.class_count, bias=PRIOR_LOGIT)
        self.box_prediction = DensePrediction(self.head.width, self.per_cell, 6)
        assert self.box_prediction.bias is not None
        with torch.no_grad():
            self.box_prediction.bias[4::6] = 1.0  # upright at first

    def forward(self, features: Features, proposals: Proposals | None = None) -> RotatedRetinaNetOutputs:
        """Scores and boxes at every anchor."""
        return self._predict(features)[0]

    def loss(
        self, features: Features, targets: RotatedBoxTargets
    ) -> tuple[dict[str, LossTerm], RotatedRetinaNetOutputs]:
        """Focal loss over all anchors that are not ignored; divergence and angle of the positive ones."""
        outputs, anchors = self._predict(features)
        match = match_by_iou(
            anchors,
            hulls(targets.corners),
            targets.crowd,
            targets.count,
            min_anchors_per_object=self.min_anchors_per_object,
        )
        ground_truth = encode_corners(take(targets.corners, match))
        labels, positive = take(targets.labels, match), match.positive
        terms = {
            "classification": focal_term(outputs.class_logits, labels, positive, match.ignored, targets.exhaustive),
            "box": divergence_term(outputs.boxes, ground_truth, positive),
            "angle": angle_term(outputs.boxes, ground_truth, positive),
        }
        return terms, outputs

    def decode(self, outputs: RotatedRetinaNetOutputs, frame: Frame) -> RotatedBoxDecoded:
        """The best boxes of each image after class-wise suppression by rotated IoU."""
        levels = (outputs.levels, len(self.head.strides))
        return decode_rotated(outputs.class_logits, outputs.boxes, frame, self.postprocess, levels=levels)

    def _predict(self, features: Features) -> tuple[RotatedRetinaNetOutputs, Tensor]:
        """The outputs and the anchors (A, 4)."""
        class_maps, box_maps = self.head(features.maps)
        anchors = level_anchors(box_maps, self.head.strides, self.shapes)
        logits = torch.cat([self.class_prediction(level) for level in class_maps], dim=1)
        raw = torch.cat([self.box_prediction(level) for level in box_maps], dim=1).float()
        measures = to_center_size(anchors)
        center, size = measures[:, :2], measures[:, 2:]
        sides = size * raw[..., 2:4].clamp(max=GREATEST_LOG_SCALE).exp()
        boxes = torch.cat([center + raw[..., :2] * size, sides, unit_vectors(raw[..., 4:])], dim=-1)
        return RotatedRetinaNetOutputs(logits, boxes, level_numbers(box_maps, self.per_cell)), anchors
