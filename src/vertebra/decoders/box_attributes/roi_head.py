"""Values of attributes from the features inside boxes."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder
from vertebra.decoders.teacher_outputs import check_same_decoder, check_shapes
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.rois import jitter_boxes
from vertebra.layers.default_channels import default_channels
from vertebra.layers.norm import group_norm
from vertebra.layers.option_range import check_range
from vertebra.layers.roi import FusedLevels, region_features
from vertebra.layers.tracing import is_tracing
from vertebra.losses.classification import object_class_term
from vertebra.losses.distillation import softened_divergence
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.targets import AttributeDecoded, AttributeTargets

NAME = "decoder 'roi_head'"
FINEST = 8  # finest stride that is read by default


class RoIHeadOutputs(NamedTuple):
    """Raw outputs for the boxes of each image.

    Attributes:
        logits: (N, D, K).
        areas: (N, D, 4) float32 xyxy in canvas pixels, the rectangles whose features were read.
        boxes: (N, D, 4) float32 xyxy in canvas pixels.
        scores: (N, D) in 0..1, of the boxes.
        labels: (N, D) int64, the classes of the objects.
        count: (N,) int64, how many of the D are real.
    """

    logits: Tensor
    areas: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count

    @property
    def real(self) -> Tensor:
        """(N, D) bool."""
        return torch.arange(self.boxes.shape[1], device=self.count.device) < self.count[:, None]


class RoIHead(Decoder[RoIHeadOutputs, AttributeTargets, AttributeDecoded]):
    """Fast R-CNN's head without boxes: the features inside each box of another branch, cropped with RoIAlign, and fully connected
    layers to one logit for each value of an attribute, with softmax or sigmoid.

    Levels are projected to one width and added on the finest of them before cropping, so that one crop serves all levels. In
    training the boxes are the annotated ones, jittered; objects without a value are not trained on. The defaults are narrow: an
    attribute costs a few percent of a small detector. For fine details take more cells and channels.

    Args:
        in_spec: the input features.
        labels: the values.
        levels: indices of the levels that are read; None: all from stride 8 on.
        channels: channels to which they are projected; None: derived from the backbone (32 to 128).
        region_size: cells along each side of a box's features.
        hidden: widths of the fully connected layers before the last one, each followed by ReLU and dropout; None: one of twice
            the channels.
        dropout: of these layers.
        label_smoothing: fraction of the target probability that is spread over all values.
        margin: a box is enlarged by this factor.
        jitter: in training, an annotated box is shifted and resized by up to this fraction of its sides.

    Raises:
        IncompatiblePartsError: there is no level, or the levels' strides do not divide each other.
        ConfigError: an option is out of range, or there is one value only.
    """

    task: ClassVar[str] = "box_attributes"
    terms: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    paper: ClassVar[str] = (
        "Girshick, Fast R-CNN, ICCV 2015, arXiv 1504.08083; with RoIAlign of He et al., Mask R-CNN, ICCV 2017, arXiv 1703.06870 "
        "(differences: no boxes; levels are added, not chosen; narrower layers; group normalization)"
    )
    needs = "boxes"
    labels: AttributeLabels

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: AttributeLabels,
        *,
        levels: list[int] | None = None,
        channels: int | None = None,
        region_size: int = 4,
        hidden: list[int] | None = None,
        dropout: float = 0.2,
        label_smoothing: float = 0.0,
        margin: float = 1.1,
        jitter: float = 0.1,
    ) -> None:
        super().__init__(in_spec, labels)
        check_range(
            NAME, minimum=1, channels=channels, region_size=region_size, margin=margin, hidden=min(hidden or [1])
        )
        check_range(NAME, minimum=0, maximum=0.9, jitter=jitter, dropout=dropout, label_smoothing=label_smoothing)
        if not labels.multilabel and labels.class_count < 2:
            raise ConfigError("one exclusive value leaves nothing to decide; name two values, or set multilabel: true")
        self.in_levels = _default_levels(in_spec) if levels is None else _checked(levels, len(in_spec.levels))
        width = default_channels(in_spec, minimum=32, maximum=128) if channels is None else channels
        self.levels = FusedLevels(in_spec, self.in_levels, width)
        self.region_size, self.margin, self.jitter = region_size, margin, jitter
        self.label_smoothing = label_smoothing
        layers: list[nn.Module] = [group_norm(width), nn.ReLU(inplace=True), nn.Flatten()]
        size = width * region_size**2
        for following in [2 * width] if hidden is None else hidden:
            layers += [nn.Linear(size, following), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            size = following
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(size, labels.class_count)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Features, proposals: Proposals | None = None) -> RoIHeadOutputs:
        """One logit for each value and each of ``proposals``."""
        if proposals is None:
            raise ValueError("a decoder that reads boxes needs proposals")
        boxes = proposals.boxes.float()
        areas = self._areas(boxes)
        if boxes.device.type == "cpu" and not is_tracing(boxes):  # padding comes last and is left out
            logits = self._logits(features, areas[:, : max(1, int(proposals.count.max()))])
            logits = F.pad(logits, (0, 0, 0, boxes.shape[1] - logits.shape[1]))
        else:
            logits = self._logits(features, areas)
        return RoIHeadOutputs(logits, areas, boxes, proposals.scores.float(), proposals.labels, proposals.count)

    def loss(self, features: Features, targets: AttributeTargets) -> tuple[dict[str, LossTerm], RoIHeadOutputs]:
        """Cross entropy of the values of labeled objects: softmax, or sigmoid where an object may have several."""
        if targets.boxes.shape[1] == 0:  # the head cannot run on zero boxes
            targets = targets._replace(
                boxes=F.pad(targets.boxes, (0, 0, 0, 1)),
                values=F.pad(targets.values, (0, 0, 0, 1) if self.labels.multilabel else (0, 1), value=-1),
                labels=F.pad(targets.labels, (0, 1), value=-1),
            )
        boxes = targets.boxes.float()
        areas = self._areas(jitter_boxes(boxes, self.jitter) if self.training else boxes)
        logits = self._logits(features, areas)
        outputs = RoIHeadOutputs(logits, areas, boxes, torch.ones_like(boxes[..., 0]), targets.labels, targets.count)
        smoothing = self.label_smoothing if self.training else 0.0
        return {"cross_entropy": object_class_term(logits, targets.values, outputs.real, smoothing)}, outputs

    def distillation(self, outputs: RoIHeadOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence of the softened probabilities of the same boxes."""
        check_same_decoder(self, teacher)
        assert isinstance(teacher, RoIHead)
        with torch.no_grad():
            taught = outputs._replace(logits=teacher._logits(features, outputs.areas))
        check_shapes(outputs, taught)
        logits, teacher_logits = outputs.logits.flatten(0, 1), taught.logits.flatten(0, 1)
        divergence = softened_divergence(logits, teacher_logits, self.labels.multilabel)
        real = outputs.real.flatten()
        return LossTerm(torch.where(real, divergence, 0.0).sum(), real.sum().float())

    def decode(self, outputs: RoIHeadOutputs, frame: Frame) -> AttributeDecoded:
        """Softmax or sigmoid; the boxes stay in their order."""
        logits = outputs.logits
        probabilities = logits.sigmoid() if self.labels.multilabel else logits.softmax(dim=-1)
        return AttributeDecoded(
            boxes=outputs.boxes,
            scores=outputs.scores,
            labels=outputs.labels,
            count=outputs.count,
            probabilities=torch.where(outputs.real[..., None], probabilities, 0.0),
        )

    def _areas(self, boxes: Tensor) -> Tensor:
        """The boxes enlarged by the margin."""
        return torch.lerp(boxes, boxes.roll(2, dims=-1), (1 - self.margin) / 2)  # away from the opposite corner

    def _logits(self, features: Features, areas: Tensor) -> Tensor:
        """(N, D, K) for areas (N, D, 4)."""
        fused = self.levels(features.maps)
        cropped = region_features(fused, self.levels.strides[0], areas, (self.region_size, self.region_size))
        return self.classifier(self.layers(cropped)).reshape(*areas.shape[:2], -1)  # type: ignore[no-any-return]


def _default_levels(in_spec: FeatureSpec) -> tuple[int, ...]:
    """The deepest level of each stride from 8 on; the deepest level of all if there is none."""
    in_spec.require_levels()
    strides = in_spec.strides
    deepest = [n for n in range(len(strides)) if n + 1 == len(strides) or strides[n + 1] != strides[n]]
    return tuple([n for n in deepest if strides[n] >= FINEST] or deepest[-1:])


def _checked(levels: list[int], count: int) -> tuple[int, ...]:
    if not levels or any(not 0 <= level < count for level in levels):
        raise ConfigError(f"{NAME}: 'levels' must name some of the levels 0 to {count - 1}, got {levels}")
    return tuple(sorted(set(levels)))
