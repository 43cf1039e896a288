"""FCOS for rotated boxes: dense detection without anchors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vertebra.decoders.base import Decoder, ScopeUse
from vertebra.decoders.detect._dense_head import PRIOR_LOGIT, DenseHead, DensePrediction, Norm
from vertebra.decoders.detect._nms_postprocess import NMSPostprocess
from vertebra.decoders.rotated_boxes._rotated_postprocess import DEFAULT_POSTPROCESS, decode_rotated, unit_vectors
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.box_coding import GREATEST_LOG_SCALE
from vertebra.geometry.points import level_points
from vertebra.geometry.rectangles import center_sides_direction
from vertebra.losses.detection import centerness_term, focal_term
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.rotated import angle_term, divergence_term, encode_corners
from vertebra.matching.fcos import LocationsInObjects, match_by_location
from vertebra.matching.iou import take
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.targets import RotatedBoxDecoded, RotatedBoxTargets

BASE_SIDE = 4.0  # strides of a box's sides at raw outputs of 0


class RotatedFCOSOutputs(NamedTuple):
    """Raw outputs at every location.

    Attributes:
        class_logits: (N, A, classes), one sigmoid per class.
        boxes: (N, A, 6) float32, coded as in `vertebra.losses.rotated`, in canvas pixels.
        centerness: (N, A) logits.
        levels: (A,) int64, the level of each location.
    """

    class_logits: Tensor
    boxes: Tensor
    centerness: Tensor
    levels: Tensor


class RotatedFCOS(Decoder[RotatedFCOSOutputs, RotatedBoxTargets, RotatedBoxDecoded]):
    """Finds objects and their rotated boxes without anchors: each cell near the middle of an object predicts its class, the center,
    sides and angle of its box, and its centerness.

    Differences from the paper: those of the decoder ``fcos``; whether a location is in an object, its level and its centerness
    follow from the distances to the sides of the rotated box; the center and the sides are predicted in place of these distances,
    and twice the angle as a vector, which has no jump. Boxes have the loss by the Kullback-Leibler divergence of normal
    distributions (Yang et al., NeurIPS 2021, arXiv 2106.01883), and a term for the angle of squares, which that loss does not see.

    Args:
        in_spec: the input features.
        labels: the classes.
        channels: width of the towers, a multiple of 8; None: the neck's channels, or 64 to 256.
        depth: convolutions in each tower; None: 4 from 256 channels on, else 2.
        norm: normalization in the towers; "batch" keeps statistics for each level.
        finest_stride: levels with a finer stride are left out; None: 8 if that leaves two levels, otherwise 4.
        center_radius: a location within this many strides of an object's center is matched with it.
        postprocess: options of decoding; IoUs are those of the rotated boxes.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "rotated_boxes"
    scope_use: ClassVar[ScopeUse] = "full"
    postprocess: NMSPostprocess
    terms: ClassVar[tuple[str, ...]] = ("classification", "box", "angle", "centerness")
    neck_defaults: ClassVar[Mapping[str, Any]] = {"extra_levels": 2}  # P6 and P7, for large objects
    paper: ClassVar[str] = (
        "Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019, arXiv 1904.01355"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: RotatedBoxLabels,
        *,
        channels: int | None = None,
        depth: int | None = None,
        norm: Norm = "group",
        finest_stride: int | None = None,
        center_radius: float = 1.5,
        postprocess: NMSPostprocess = DEFAULT_POSTPROCESS,
    ) -> None:
        super().__init__(in_spec, labels)
        if center_radius <= 0:
            raise ConfigError(f"'center_radius' must be above 0, got {center_radius}")
        self.head = DenseHead(in_spec, channels=channels, depth=depth, norm=norm, finest_stride=finest_stride)
        self.in_levels = tuple(self.head.indices)
        self.center_radius = center_radius
        self.postprocess = postprocess
        self.class_prediction = DensePrediction(self.head.width, 1, labels.class_count, bias=PRIOR_LOGIT)
        self.box_prediction = DensePrediction(self.head.width, 1, 6)
        assert self.box_prediction.bias is not None
        with torch.no_grad():
            self.box_prediction.bias[4] = 1.0  # upright at first
        self.centerness_prediction = DensePrediction(self.head.width, 1, 1)
        self.scales = nn.Parameter(torch.ones(len(self.head.strides)))

    def forward(self, features: Features, proposals: Proposals | None = None) -> RotatedFCOSOutputs:
        """Scores, boxes and centerness at every location."""
        return self._predict(features)[0]

    def loss(self, features: Features, targets: RotatedBoxTargets) -> tuple[dict[str, LossTerm], RotatedFCOSOutputs]:
        """Focal loss over all locations that are not ignored; divergence, angle and centerness of the positive ones."""
        outputs, points, levels = self._predict(features)
        match = match_by_location(
            points,
            levels,
            self.head.strides,
            targets.corners,
            targets.crowd,
            targets.count,
            radius=self.center_radius,
            locate=in_rotated_boxes,
        )
        corners, positive = take(targets.corners, match), match.positive
        ground_truth = encode_corners(corners)
        labels = take(targets.labels, match)
        distances = side_distances(corners, points)
        terms = {
            "classification": focal_term(outputs.class_logits, labels, positive, match.ignored, targets.exhaustive),
            "box": divergence_term(outputs.boxes, ground_truth, positive),
            "angle": angle_term(outputs.boxes, ground_truth, positive),
            "centerness": centerness_term(outputs.centerness, distances, positive),
        }
        return terms, outputs

    def decode(self, outputs: RotatedFCOSOutputs, frame: Frame) -> RotatedBoxDecoded:
        """The best boxes of each image after class-wise suppression by rotated IoU; scores are weighted by centerness."""
        levels = (outputs.levels, len(self.head.strides))
        return decode_rotated(outputs.class_logits, outputs.boxes, frame, self.postprocess, outputs.centerness, levels)

    def _predict(self, features: Features) -> tuple[RotatedFCOSOutputs, Tensor, Tensor]:
        """The outputs, the points (A, 2) and their levels (A,)."""
        class_maps, box_maps = self.head(features.maps)
        points, levels = level_points(box_maps, self.head.strides)
        logits = torch.cat([self.class_prediction(level) for level in class_maps], dim=1)
        centerness = torch.cat([self.centerness_prediction(level)[..., 0] for level in box_maps], dim=1)
        shifts, sides, doubles = [], [], []
        for number, (level, stride) in enumerate(zip(box_maps, self.head.strides, strict=True)):
            raw = self.box_prediction(level).float()
            shifts.append(raw[..., :2] * stride)
            grown = (raw[..., 2:4] * self.scales[number]).clamp(max=GREATEST_LOG_SCALE).exp()
            sides.append(grown * (BASE_SIDE * stride))
            doubles.append(unit_vectors(raw[..., 4:]))
        boxes = torch.cat(
            [points + torch.cat(shifts, dim=1), torch.cat(sides, dim=1), torch.cat(doubles, dim=1)], dim=-1
        )
        return RotatedFCOSOutputs(logits, boxes, centerness, levels), points, levels


def side_distances(corners: Tensor, points: Tensor) -> Tensor:
    """The distances from points to the sides of rectangles, in the frame of each.

    Args:
        corners: (..., 4, 2).
        points: (..., 2), broadcast against the rectangles.

    Returns:
        (..., 4) to the first side's start and the second side's, then to the opposite sides; all positive inside.
    """
    center, sides, direction = center_sides_direction(corners)
    shift = points - center
    along = (shift * direction).sum(dim=-1)
    across = shift[..., 1] * direction[..., 0] - shift[..., 0] * direction[..., 1]
    position, half = torch.stack([along, across], dim=-1), 0.5 * sides
    return torch.cat([half + position, half - position], dim=-1)


def in_rotated_boxes(corners: Tensor, points: Tensor) -> LocationsInObjects:
    """Of locations (A, 2) in rectangles (M, 4, 2)."""
    center, sides, _ = center_sides_direction(corners)
    return LocationsInObjects(side_distances(corners[:, None], points), center, sides.prod(dim=-1))
