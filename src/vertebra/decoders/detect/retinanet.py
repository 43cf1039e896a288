"""RetinaNet: dense detection from anchors, with focal loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from vertebra.decoders.base import Decoder
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import DEFAULT_POST, NMSPostprocess, decode_dense
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.anchors import level_anchors, level_numbers, level_shapes, octaves_for, sized_shapes
from vertebra.geometry.box_coding import decode_deltas
from vertebra.geometry.points import Spacing
from vertebra.losses.detection import BoxLoss, delta_term, focal_term, giou_term
from vertebra.losses.loss_term import LossTerm
from vertebra.matching.iou import match_by_iou, take
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets


class RetinaNetOutputs(NamedTuple):
    """Raw outputs at every anchor.

    Attributes:
        class_logits: (N, A, classes), each class for itself (sigmoid).
        boxes: (N, A, 4) float32 xyxy in canvas pixels, not cut to the image.
        levels: (A,) int64, the level of each anchor.
    """

    class_logits: Tensor
    boxes: Tensor
    levels: Tensor


class RetinaNet(Decoder[RetinaNetOutputs, DetectTargets, DetectDecoded]):
    """Finds objects by correcting anchors: at each cell of each level, boxes of several sizes and shapes are scored for
    every class and moved onto the object.

    Differences from the paper: the towers' width and depth fit the backbone, normalize by groups, and boxes learn by
    GIoU unless told otherwise; levels finer than stride 8 are left out where others remain; and anchors spread over
    more sizes, the more so the fewer levels there are; and each object has nine anchors at least, so that small ones
    weigh as much as large ones.

    Args:
        in_spec: the features that come in.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None fits the features (the neck's, or 64 to 256).
        depth: convolutions in each tower; None is 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None is 8 if two levels are left then, otherwise 4.
        anchor_scale: side of a square anchor at octave 0, in strides.
        octaves: sizes of a cell's anchors, as logarithms (base 2) of multiples of ``anchor_scale``; the paper's are 0,
            1/3, 2/3. None fits the levels, -2/3, 0, 2/3 on three or more.
        anchor_sizes: for each level the sides of square anchors in pixels, in the place of ``anchor_scale`` and ``octaves``;
            such anchors are rounded to whole pixels, as torchvision has them.
        anchor_offset: where in its cell an anchor's center lies; 0.5 is the middle, 0 the corner, as torchvision has it.
        anchor_spacing: how far anchors of neighboring cells are apart: "stride", or "canvas", the canvas divided by the level's
            cells and rounded down, as torchvision has it, which on coarse levels may be less.
        aspect_ratios: height / width of the anchors.
        min_anchors_per_object: how many anchors at least learn from each object, whatever their overlap; the paper has 1.
        box_loss: what a box's error is: "giou" on boxes, "smooth_l1" (beta 1/9) or "l1" on coded boxes.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: there is no level to stand on.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box")
    neck_defaults: ClassVar[Mapping[str, Any]] = {"extra_levels": 2}  # P6 and P7, for large objects
    paper: ClassVar[str] = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002"

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: DetectLabels,
        *,
        channels: int | None = None,
        depth: int | None = None,
        norm: Norm = "group",
        finest_stride: int | None = None,
        anchor_scale: float = 4.0,
        octaves: tuple[float, ...] | None = None,
        anchor_sizes: list[list[float]] | None = None,
        anchor_offset: float = 0.5,
        anchor_spacing: Spacing = "stride",
        aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        min_anchors_per_object: int = 9,
        box_loss: BoxLoss = "giou",
        postprocess: NMSPostprocess = DEFAULT_POST,
    ) -> None:
        super().__init__(in_spec, labels)
        self.head = DenseHead(in_spec, channels=channels, depth=depth, norm=norm, finest_stride=finest_stride)
        self.in_levels = tuple(self.head.indices)
        sizes = octaves_for(self.head.strides) if octaves is None else tuple(octaves)
        if anchor_scale <= 0 or not sizes or not aspect_ratios or min(aspect_ratios) <= 0:
            raise ConfigError(
                "'anchor_scale' and 'aspect_ratios' must be above 0, 'octaves' must name at least one size"
            )
        self.anchor_offset, self.anchor_spacing = anchor_offset, anchor_spacing
        if anchor_sizes is None:
            self.shapes = level_shapes(
                self.head.strides, scale=anchor_scale, octaves=sizes, aspect_ratios=aspect_ratios
            )
        else:
            check_anchor_sizes(anchor_sizes, len(self.head.strides))
            self.shapes = sized_shapes(anchor_sizes, aspect_ratios)
        if min_anchors_per_object < 0:
            raise ConfigError(f"'min_anchors_per_object' must be 0 or more, got {min_anchors_per_object}")
        self.min_anchors_per_object = min_anchors_per_object
        self.box_loss = box_loss
        self.postprocess = postprocess
        self.per_cell = len(self.shapes[0])
        self.class_prediction = DensePrediction(self.head.width, self.per_cell, labels.class_count, bias=PRIOR_LOGIT)
        self.box_prediction = DensePrediction(self.head.width, self.per_cell, 4)

    def forward(self, features: Features, proposals: Proposals | None = None) -> RetinaNetOutputs:
        """Scores and boxes at every anchor."""
        return self._predict(features)[0]

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], RetinaNetOutputs]:
        """Focal loss over all anchors that are not ignored, and the error of the positive anchors' boxes."""
        outputs, deltas, anchors = self._predict(features)
        match = match_by_iou(
            anchors, targets.boxes, targets.crowd, targets.count, min_anchors_per_object=self.min_anchors_per_object
        )
        labels, ground_truth = take(targets.labels, match), take(targets.boxes, match)
        if self.box_loss == "giou":
            box = giou_term(outputs.boxes, ground_truth, match.positive)
        else:
            beta = 0.0 if self.box_loss == "l1" else 1 / 9
            box = delta_term(deltas, anchors, ground_truth, match.positive, beta=beta)
        classification = focal_term(outputs.class_logits, labels, match.positive, match.ignored)
        return {"classification": classification, "box": box}, outputs

    def decode(self, outputs: RetinaNetOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise suppression."""
        levels = (outputs.levels, len(self.head.strides))
        return decode_dense(outputs.class_logits, outputs.boxes, frame, self.postprocess, levels=levels)

    def _predict(self, features: Features) -> tuple[RetinaNetOutputs, Tensor, Tensor]:
        """The outputs, the coded boxes (N, A, 4) and the anchors (A, 4)."""
        class_maps, box_maps = self.head(features.maps)
        placed: dict[str, Any] = {"offset": self.anchor_offset, "spacing": self.anchor_spacing}
        anchors = level_anchors(box_maps, self.head.strides, self.shapes, **placed)
        logits = torch.cat([self.class_prediction(level) for level in class_maps], dim=1)
        deltas = torch.cat([self.box_prediction(level) for level in box_maps], dim=1).float()
        levels = level_numbers(box_maps, self.per_cell)
        return RetinaNetOutputs(logits, decode_deltas(deltas, anchors), levels), deltas, anchors


def check_anchor_sizes(sizes: list[list[float]], levels: int) -> None:
    """Raises `ConfigError` unless there are sizes above 0 for each level, as many on each."""
    counts = {len(own) for own in sizes}
    if len(sizes) != levels or len(counts) != 1 or 0 in counts or min(min(own) for own in sizes) <= 0:
        raise ConfigError(
            f"'anchor_sizes' must name as many sizes above 0 for each of the {levels} levels, got {sizes}"
        )
