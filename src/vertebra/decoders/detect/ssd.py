"""SSD: one convolution for each level finds objects from default boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import DensePrediction, used_levels
from vertebra.decoders.detect._nms_postprocess import DEFAULT_POSTPROCESS, NMSPostprocess, decode_classes
from vertebra.decoders.teacher_outputs import aligned_outputs
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.box_coding import CODE_WEIGHTS, decode_deltas
from vertebra.geometry.default_boxes import default_boxes, default_ratios, default_scales, default_shapes
from vertebra.layers.option_range import check_range
from vertebra.losses.detection import delta_term
from vertebra.losses.distillation import dense_term, softmax_score_logits
from vertebra.losses.hard_negative_mining import mined_class_term
from vertebra.losses.loss_term import LossTerm
from vertebra.matching.iou import match_by_iou, take
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets


class SSDOutputs(NamedTuple):
    """Raw outputs at every default box.

    Attributes:
        class_logits: (N, A, classes + 1), the background last; they share a softmax.
        boxes: (N, A, 4) float32 xyxy in canvas pixels, not cut to the image.
    """

    class_logits: Tensor
    boxes: Tensor


class SSD(Decoder[SSDOutputs, DetectTargets, DetectDecoded]):
    """Finds objects by one convolution on each level: at each cell, default boxes of several sizes and shapes are scored for
    every class and the background, and moved onto the object.

    The boxes' sizes are parts of the canvas and grow with the stride, so use one canvas size for all images.
    Differences from the paper: each object has at least ``min_boxes_per_object`` default boxes; an image without objects
    counts as one with a single positive box.

    Args:
        in_spec: the input features.
        labels: the classes.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        scales: sizes of the default boxes as parts of the canvas, one more than there are levels; None: 0.07 on the finest
            level, then from 0.15 to 0.87, as published for COCO; on fewer than five levels from 0.07 to 0.87 by one factor.
        aspect_ratios: of the longer to the shorter side, for each level; None: 2, and 3 too but for the finest and the last two.
        cell_spacing: spacing of the boxes' centers: "stride", or "even", evenly over the canvas.
        min_boxes_per_object: least number of default boxes matched to each object, whatever their overlap; the paper has 1.
        negatives: number of negative default boxes, those with the greatest loss, that count for each positive one.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "full"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box")
    neck_defaults: ClassVar[Mapping[str, Any]] = {"extra_levels": 3}
    paper: ClassVar[str] = "Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325"

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: DetectLabels,
        *,
        finest_stride: int | None = None,
        scales: list[float] | None = None,
        aspect_ratios: list[list[float]] | None = None,
        cell_spacing: Literal["stride", "even"] = "stride",
        min_boxes_per_object: int = 4,
        negatives: float = 3.0,
        postprocess: NMSPostprocess = DEFAULT_POSTPROCESS,
    ) -> None:
        super().__init__(in_spec, labels)
        self.indices = used_levels(in_spec, finest_stride)
        self.in_levels = tuple(self.indices)
        levels = [in_spec.levels[index] for index in self.indices]
        self.strides = [level.stride for level in levels]
        check_range("decoder 'ssd'", minimum=0, min_boxes_per_object=min_boxes_per_object, negatives=negatives)
        sizes = tuple(scales) if scales is not None else default_scales(len(levels))
        if len(sizes) != len(levels) + 1 or min(sizes) <= 0:
            raise ConfigError(f"'scales' must name {len(levels) + 1} parts of the canvas above 0, got {scales}")
        ratios = aspect_ratios if aspect_ratios is not None else default_ratios(len(levels))
        if len(ratios) != len(levels) or any(ratio <= 0 for level_ratios in ratios for ratio in level_ratios):
            raise ConfigError(f"'aspect_ratios' must name ratios above 0 for {len(levels)} levels, got {aspect_ratios}")
        self.shapes = default_shapes(sizes, ratios)
        self.even = cell_spacing == "even"
        self.min_boxes_per_object, self.negatives, self.postprocess = min_boxes_per_object, negatives, postprocess
        classes = labels.class_count + 1
        counts = [len(level_shapes) for level_shapes in self.shapes]
        self.class_predictions = nn.ModuleList(
            self.prediction(level.channels, count, classes) for level, count in zip(levels, counts, strict=True)
        )
        self.box_predictions = nn.ModuleList(
            self.prediction(level.channels, count, 4) for level, count in zip(levels, counts, strict=True)
        )

    @staticmethod
    def prediction(channels: int, per_cell: int, values: int) -> nn.Module:
        """The layers that predict ``values`` numbers for each of a cell's candidates from a map."""
        return DensePrediction(channels, per_cell, values)

    def forward(self, features: Features, proposals: Proposals | None = None) -> SSDOutputs:
        """Scores and boxes at every default box."""
        return self._predict(features)[0]

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], SSDOutputs]:
        """Cross entropy of the positive and the hardest negative default boxes, and the error of the positive ones' boxes."""
        outputs, deltas, anchors = self._predict(features)
        match = match_by_iou(
            anchors,
            targets.boxes,
            targets.crowd,
            targets.count,
            background=0.5,
            min_anchors_per_object=self.min_boxes_per_object,
        )
        labels, ground_truth = take(targets.labels, match), take(targets.boxes, match)
        terms = {
            "classification": mined_class_term(
                outputs.class_logits, labels, match.positive, match.ignored, self.negatives, targets.exhaustive
            ),
            "box": delta_term(deltas, anchors, ground_truth, match.positive, beta=1.0, weights=CODE_WEIGHTS),
        }
        return terms, outputs

    def distillation(self, outputs: SSDOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the scores of all default boxes, and of the boxes where the teacher has a score."""
        taught = aligned_outputs(teacher, features, outputs)
        logits, teacher_logits = softmax_score_logits(outputs.class_logits), softmax_score_logits(taught.class_logits)
        return dense_term(logits, teacher_logits, outputs.boxes, taught.boxes)

    def decode(self, outputs: SSDOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise non-maximum suppression."""
        scores = outputs.class_logits.float().softmax(dim=-1)[..., : self.labels.class_count]
        return decode_classes(scores, outputs.boxes, frame, self.postprocess)

    def _predict(self, features: Features) -> tuple[SSDOutputs, Tensor, Tensor]:
        """The outputs, the coded boxes (N, A, 4) times `CODE_WEIGHTS`, and the default boxes (A, 4)."""
        maps = [features.maps[index] for index in self.indices]
        anchors = default_boxes(maps, self.strides, self.shapes, features.frame.canvas, even=self.even)
        logits = torch.cat(
            [layer(level_map) for layer, level_map in zip(self.class_predictions, maps, strict=True)], dim=1
        )
        deltas = torch.cat(
            [layer(level_map) for layer, level_map in zip(self.box_predictions, maps, strict=True)], dim=1
        ).float()
        boxes = decode_deltas(deltas / deltas.new_tensor(CODE_WEIGHTS), anchors)
        return SSDOutputs(logits, boxes), deltas, anchors
