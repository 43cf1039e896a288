"""FCOS: dense detection without anchors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import DEFAULT_POSTPROCESS, NMSPostprocess, decode_dense
from vertebra.decoders.detect.yolox import product_logits
from vertebra.decoders.teacher_outputs import aligned_outputs
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.box_coding import GREATEST_LOG_SCALE, decode_distances, encode_distances
from vertebra.geometry.points import Spacing, level_points
from vertebra.losses.detection import centerness_term, focal_term, giou_term
from vertebra.losses.distillation import dense_term
from vertebra.losses.loss_term import LossTerm
from vertebra.matching.fcos import match_by_location
from vertebra.matching.iou import take
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectDecoded, DetectTargets


class FCOSOutputs(NamedTuple):
    """Raw outputs at every location.

    Attributes:
        class_logits: (N, A, classes), one sigmoid per class.
        boxes: (N, A, 4) float32 xyxy in canvas pixels, not cut to the image.
        centerness: (N, A) logits, or None if ``centerness`` is off.
        levels: (A,) int64, the level of each location.
    """

    class_logits: Tensor
    boxes: Tensor
    centerness: Tensor | None
    levels: Tensor


class FCOS(Decoder[FCOSOutputs, DetectTargets, DetectDecoded]):
    """Finds objects without anchors: each cell near the middle of an object predicts its class, the distances to its four
    sides, and its centerness.

    Differences from the paper: the towers' width and depth depend on the backbone; levels finer than stride 8 are left out
    where others remain; the centerness is predicted from the box tower, boxes have GIoU loss and only locations near an
    object's center are positive, as in the authors' later version.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None: the neck's channels, or 64 to 256.
        depth: convolutions in each tower; None: 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        centerness: whether scores are weighted down away from an object's middle.
        center_radius: a location within this many strides of an object's center is matched with it.
        distance: mapping of the raw outputs to distances: "exp", times a learned factor of each level, as in the paper; or
            "relu", as in its later version and torchvision.
        point_offset: position of a location in its cell; 0.5 is the middle, 0 the corner, as in torchvision.
        point_spacing: distance of locations of neighboring cells: "stride", or "canvas", the canvas divided by the level's
            cells and rounded down, as in torchvision, which can be less on coarse levels.
        tower_bias: whether the towers' convolutions have biases beside the normalization, as in torchvision.
        postprocess: options of decoding.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "detect"
    scope_use: ClassVar[ScopeUse] = "full"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box", "centerness")
    neck_defaults: ClassVar[Mapping[str, Any]] = {"extra_levels": 2}  # P6 and P7, for large objects
    paper: ClassVar[str] = (
        "Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019, arXiv 1904.01355"
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
        centerness: bool = True,
        center_radius: float = 1.5,
        distance: Literal["exp", "relu"] = "exp",
        point_offset: float = 0.5,
        point_spacing: Spacing = "stride",
        tower_bias: bool = False,
        postprocess: NMSPostprocess = DEFAULT_POSTPROCESS,
    ) -> None:
        super().__init__(in_spec, labels)
        if center_radius <= 0:
            raise ConfigError(f"'center_radius' must be above 0, got {center_radius}")
        self.head = DenseHead(
            in_spec, channels=channels, depth=depth, norm=norm, finest_stride=finest_stride, biased=tower_bias
        )
        self.in_levels = tuple(self.head.indices)
        self.center_radius = center_radius
        self.postprocess = postprocess
        self.class_prediction = DensePrediction(self.head.width, 1, labels.class_count, bias=PRIOR_LOGIT)
        self.box_prediction = DensePrediction(self.head.width, 1, 4)
        self.centerness_prediction = DensePrediction(self.head.width, 1, 1) if centerness else None
        self.scales = nn.Parameter(torch.ones(len(self.head.strides))) if distance == "exp" else None
        self.point_offset, self.point_spacing = point_offset, point_spacing

    def forward(self, features: Features, proposals: Proposals | None = None) -> FCOSOutputs:
        """Scores, boxes and centerness at every location."""
        return self._predict(features)[0]

    def loss(self, features: Features, targets: DetectTargets) -> tuple[dict[str, LossTerm], FCOSOutputs]:
        """Focal loss over all locations that are not ignored; GIoU and centerness of the positive ones.

        The centerness term is 0 over 0 where the decoder was built without it.
        """
        outputs, points, levels = self._predict(features)
        match = match_by_location(
            points,
            levels,
            self.head.strides,
            targets.boxes,
            targets.crowd,
            targets.count,
            radius=self.center_radius,
        )
        labels, ground_truth = take(targets.labels, match), take(targets.boxes, match)
        zero = outputs.boxes.new_zeros(())
        central = LossTerm(zero, zero)
        if outputs.centerness is not None:
            central = centerness_term(outputs.centerness, encode_distances(ground_truth, points), match.positive)
        terms = {
            "classification": focal_term(
                outputs.class_logits, labels, match.positive, match.ignored, targets.exhaustive
            ),
            "box": giou_term(outputs.boxes, ground_truth, match.positive),
            "centerness": central,
        }
        return terms, outputs

    def distillation(self, outputs: FCOSOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the scores of all locations, weighted by centerness as in decoding, and of the boxes where the teacher
        has a score."""
        taught = aligned_outputs(teacher, features, outputs)
        logits, teacher_logits = outputs.class_logits.float(), taught.class_logits.float()
        if outputs.centerness is not None and taught.centerness is not None:
            logits = product_logits(logits, outputs.centerness.float()[..., None])
            teacher_logits = product_logits(teacher_logits, taught.centerness.float()[..., None])
        return dense_term(logits, teacher_logits, outputs.boxes, taught.boxes)

    def decode(self, outputs: FCOSOutputs, frame: Frame) -> DetectDecoded:
        """The best boxes of each image after class-wise non-maximum suppression; scores are weighted by centerness."""
        levels = (outputs.levels, len(self.head.strides))
        return decode_dense(outputs.class_logits, outputs.boxes, frame, self.postprocess, outputs.centerness, levels)

    def _predict(self, features: Features) -> tuple[FCOSOutputs, Tensor, Tensor]:
        """The outputs, the points (A, 2) and their levels (A,)."""
        class_maps, box_maps = self.head(features.maps)
        points, levels = level_points(box_maps, self.head.strides, offset=self.point_offset, spacing=self.point_spacing)
        logits = torch.cat([self.class_prediction(level) for level in class_maps], dim=1)
        distances = []
        for number, (level, stride) in enumerate(zip(box_maps, self.head.strides, strict=True)):
            raw = self.box_prediction(level).float()
            grown = (
                raw.relu() if self.scales is None else (raw * self.scales[number]).clamp(max=GREATEST_LOG_SCALE).exp()
            )
            distances.append(grown * stride)
        centrality = None
        if self.centerness_prediction is not None:
            centrality = torch.cat([self.centerness_prediction(level)[..., 0] for level in box_maps], dim=1)
        boxes = decode_distances(torch.cat(distances, dim=1), points)
        return FCOSOutputs(logits, boxes, centrality, levels), points, levels
