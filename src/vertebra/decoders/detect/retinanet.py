"""RetinaNet: dense detection with anchors and focal loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import DEFAULT_POSTPROCESS, NMSPostprocess, decode_dense
from vertebra.decoders.teacher_outputs import aligned_outputs
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.anchors import level_anchors, level_numbers, level_shapes, octaves_for, sized_shapes
from vertebra.geometry.box_coding import decode_deltas
from vertebra.geometry.points import Spacing
from vertebra.losses.detection import BoxLoss, delta_term, focal_term, giou_term
from vertebra.losses.distillation import dense_term
from vertebra.losses.loss_term import LossTerm
from vertebra.matching.iou import match_by_iou, take
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets


class RetinaNetOutputs(NamedTuple):
    """Raw outputs at every anchor.

    Attributes:
        class_logits: (N, A, classes), one sigmoid per class.
        boxes: (N, A, 4) float32 xyxy in canvas pixels, not cut to the image.
        levels: (A,) int64, the level of each anchor.
    """

    class_logits: Tensor
    boxes: Tensor
    levels: Tensor


class RetinaNet(Decoder[RetinaNetOutputs, DetectTargets, DetectDecoded]):
    """Finds objects from anchors: at each cell of each level, anchors of several sizes and shapes have a score for every class
    and a box regression.

    Differences from the paper: the towers' width and depth depend on the backbone; by default they use group normalization
    and boxes have GIoU loss; levels finer than stride 8 are left out where others remain; anchors have more sizes the fewer
    levels there are; and each object has at least nine anchors, so that small objects count as much as large ones.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None: the neck's channels, or 64 to 256.
        depth: convolutions in each tower; None: 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        anchor_scale: side of a square anchor at octave 0, in strides.
        octaves: sizes of a cell's anchors, as logarithms (base 2) of multiples of ``anchor_scale``; the paper's are 0,
            1/3, 2/3. None: by the number of levels, -2/3, 0, 2/3 on three or more.
        anchor_sizes: for each level the sides of square anchors in pixels, instead of ``anchor_scale`` and ``octaves``;
            such anchors are rounded to whole pixels, as in torchvision.
        anchor_offset: position of an anchor's center in its cell; 0.5 is the middle, 0 the corner, as in torchvision.
        anchor_spacing: distance of anchors of neighboring cells: "stride", or "canvas", the canvas divided by the level's
            cells and rounded down, as in torchvision, which can be less on coarse levels.
        aspect_ratios: height / width of the anchors.
        min_anchors_per_object: least number of anchors matched to each object, whatever their overlap; the paper has 1.
        box_loss: "giou" on boxes, "smooth_l1" (beta 1/9) or "l1" on coded boxes.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "full"
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
        """Focal loss over all anchors that are not ignored, and the box loss of the positive anchors."""
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
        scope = targets.exhaustive
        classification = focal_term(outputs.class_logits, labels, match.positive, match.ignored, scope)
        return {"classification": classification, "box": box}, outputs

    def distillation(self, outputs: RetinaNetOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the scores of all anchors, and of the boxes where the teacher has a score."""
        taught = aligned_outputs(teacher, features, outputs)
        return dense_term(outputs.class_logits, taught.class_logits, outputs.boxes, taught.boxes)

    def decode(self, outputs: RetinaNetOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise non-maximum suppression."""
        levels = (outputs.levels, len(self.head.strides))
        return decode_dense(outputs.class_logits, outputs.boxes, frame, self.postprocess, levels=levels)

    def _predict(self, features: Features) -> tuple[RetinaNetOutputs, Tensor, Tensor]:
        """The outputs, the coded boxes (N, A, 4) and the anchors (A, 4)."""
        class_maps, box_maps = self.head(features.maps)
        layout: dict[str, Any] = {"offset": self.anchor_offset, "spacing": self.anchor_spacing}
        anchors = level_anchors(box_maps, self.head.strides, self.shapes, **layout)
        logits = torch.cat([self.class_prediction(level) for level in class_maps], dim=1)
        deltas = torch.cat([self.box_prediction(level) for level in box_maps], dim=1).float()
        levels = level_numbers(box_maps, self.per_cell)
        return RetinaNetOutputs(logits, decode_deltas(deltas, anchors), levels), deltas, anchors


def check_anchor_sizes(sizes: list[list[float]], levels: int) -> None:
    """Raises `ConfigError` unless there are sizes above 0 for each level, as many on each."""
    counts = {len(level_sizes) for level_sizes in sizes}
    if len(sizes) != levels or len(counts) != 1 or 0 in counts or min(min(level_sizes) for level_sizes in sizes) <= 0:
        raise ConfigError(
            f"'anchor_sizes' must name as many sizes above 0 for each of the {levels} levels, got {sizes}"
        )
