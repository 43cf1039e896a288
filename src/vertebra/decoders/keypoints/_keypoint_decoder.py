"""The base class of the keypoint decoders: the objects whose keypoints are predicted, and the area of each."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.decoders.base import AnyDecoder, Decoder
from vertebra.decoders.teacher_outputs import check_same_decoder, check_shapes
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.boxes import box_area
from vertebra.geometry.rois import areas_around, from_unit, jitter_boxes, to_unit
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.roi import FusedLevels
from vertebra.losses.loss_term import LossTerm
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.targets import KeypointDecoded, KeypointTargets

FINEST = 4  # finest stride that is read by default


class Objects(NamedTuple):
    """The objects whose keypoints are predicted: another branch's boxes, or one object that fills the image.

    Attributes:
        areas: (N, D, 4) float32 xyxy in canvas pixels: the area that is read; points are relative to it.
        boxes: (N, D, 4) float32 xyxy in canvas pixels.
        scores: (N, D) in 0..1.
        labels: (N, D) int64 class ids.
        count: (N,) int64, how many of the D are real.
    """

    areas: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count

    @property
    def real(self) -> Tensor:
        """(N, D) bool."""
        return torch.arange(self.boxes.shape[1], device=self.count.device) < self.count[:, None]


class KeypointOutputs(Protocol):
    """Raw outputs of a keypoint decoder: a NamedTuple with the objects and whatever `locate` needs."""

    @property
    def objects(self) -> Objects:
        """The objects that the points belong to."""


KeypointOutputsT = TypeVar("KeypointOutputsT", bound=KeypointOutputs)


class KeypointDecoder(Decoder[KeypointOutputsT, KeypointTargets, KeypointDecoded], Generic[KeypointOutputsT]):
    """A decoder of keypoints, with two modes that share the same weights.

    It predicts the points of one object that fills the image, or (``on_boxes``) those of each box of another branch, whose
    features are cropped with RoIAlign. Without ``on_boxes`` the object's box is the whole image, its class is the first one,
    and of several ground-truth objects the largest is the target. With ``on_boxes`` the loss reads the ground-truth boxes,
    jittered in training, and `forward` reads those of the other branch.

    Subclasses define their name for messages (``part``), the raw `outputs`, the losses (`compare`) and the decoding of the
    points (`locate`).

    Args:
        on_boxes: reads another branch's boxes; the builder sets it if the branch has ``boxes_from``.
        levels: indices of the levels that are read; None: see `default_levels`.
        channels: channels to which they are projected; None: derived from the backbone.
        region_size: (height, width) of an area in cells; areas around boxes have this aspect ratio.
        margin: a box is enlarged by this factor, for context around points at its border.
        jitter: see `vertebra.geometry.rois.jitter_boxes`.

    Raises:
        IncompatiblePartsError: there is no level, or the levels' strides do not divide each other.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "keypoints"
    part: ClassVar[str]
    labels: KeypointLabels

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: KeypointLabels,
        *,
        on_boxes: bool,
        levels: list[int] | None,
        channels: int | None,
        region_size: tuple[int, int],
        margin: float,
        jitter: float,
    ) -> None:
        super().__init__(in_spec, labels)
        self.name = f"decoder '{self.part}'"
        check_range(self.name, minimum=1, channels=channels, margin=margin, region_size=min(region_size))
        check_range(self.name, minimum=0, maximum=0.9, jitter=jitter)
        self.needs = "boxes" if on_boxes else None
        self.in_levels = default_levels(in_spec, on_boxes) if levels is None else self._checked(levels)
        self.width = default_channels(in_spec) if channels is None else channels
        self.region_size = (region_size[0], region_size[1])
        self.margin, self.jitter = margin, jitter
        self.levels = FusedLevels(in_spec, self.in_levels, self.width)

    def _checked(self, levels: list[int]) -> tuple[int, ...]:
        count = len(self.in_spec.levels)
        if not levels or any(not 0 <= level < count for level in levels):
            raise ConfigError(f"{self.name}: 'levels' must name some of the levels 0 to {count - 1}, got {levels}")
        return tuple(sorted(set(levels)))

    @abstractmethod
    def outputs(self, features: Features, objects: Objects) -> KeypointOutputsT:
        """The raw outputs, with the objects, whose areas may differ from the given ones, as ``objects``."""

    @abstractmethod
    def compare(self, outputs: KeypointOutputsT, ground_truth: Tensor, known: Tensor) -> dict[str, LossTerm]:
        """The loss terms.

        Args:
            ground_truth: (N, D, K, 2) x, y as fractions of the area.
            known: (N, D, K) bool, which points are labeled.
        """

    @abstractmethod
    def compare_outputs(self, outputs: KeypointOutputsT, teacher: KeypointOutputsT, known: Tensor) -> LossTerm:
        """The divergence from a teacher's outputs of the same shapes; see `vertebra.decoders.base.Decoder.distillation`.

        Args:
            known: (N, D, K) bool, the points of real objects.
        """

    @abstractmethod
    def locate(self, outputs: KeypointOutputsT, frame: Frame) -> tuple[Tensor, Tensor]:
        """(N, D, K, 2) x, y as fractions of the area, and (N, D, K) scores in 0..1; float32."""

    def forward(self, features: Features, proposals: Proposals | None = None) -> KeypointOutputsT:
        """Raw outputs for the object of each image, or for each of ``proposals``."""
        if self.needs is None:
            return self.outputs(features, self._whole_image(features.frame))
        if proposals is None:
            raise ValueError("a decoder that reads boxes needs proposals")
        areas = self._areas(proposals.boxes)
        objects = Objects(areas, proposals.boxes.float(), proposals.scores.float(), proposals.labels, proposals.count)
        return self.outputs(features, objects)

    def loss(self, features: Features, targets: KeypointTargets) -> tuple[dict[str, LossTerm], KeypointOutputsT]:
        """The decoder's loss terms over all labeled points, including occluded ones."""
        if self.needs is None:
            points = _largest(targets)
            objects = self._whole_image(features.frame)
        else:
            points, objects = self._labeled_objects(targets)
        outputs = self.outputs(features, objects)
        known = (points[..., 2] > 0) & objects.real[..., None]
        return self.compare(outputs, to_unit(points[..., :2].float(), outputs.objects.areas), known), outputs

    def distillation(self, outputs: KeypointOutputsT, teacher: AnyDecoder, features: Features) -> LossTerm:
        """The decoder's divergence (`compare_outputs`) from the teacher's outputs for the same objects and areas."""
        check_same_decoder(self, teacher)
        assert isinstance(teacher, KeypointDecoder)
        with torch.no_grad():
            taught = teacher.outputs(features, outputs.objects)
        check_shapes(outputs, taught)
        known = outputs.objects.real[..., None].expand(-1, -1, len(self.labels.points))
        return self.compare_outputs(outputs, taught, known)

    def decode(self, outputs: KeypointOutputsT, frame: Frame) -> KeypointDecoded:
        """Points in canvas pixels, best object first: its score is the box score times the mean point score."""
        objects = outputs.objects
        unit_points, point_scores = self.locate(outputs, frame)
        points = from_unit(unit_points, objects.areas)
        ranked = torch.where(objects.real, objects.scores * point_scores.mean(dim=-1), -1.0)
        scores, order = ranked.topk(ranked.shape[1])
        real = scores >= 0

        def sorted_rows(values: Tensor) -> Tensor:
            index = order.reshape(*order.shape, *[1] * (values.ndim - 2)).expand_as(values)
            kept = real.reshape(*real.shape, *[1] * (values.ndim - 2))
            return torch.where(kept, values.gather(1, index), 0)

        return KeypointDecoded(
            points=sorted_rows(points),
            point_scores=sorted_rows(point_scores),
            boxes=sorted_rows(objects.boxes),
            scores=scores.clamp(min=0),
            labels=torch.where(real, objects.labels.gather(1, order), -1),
            count=objects.count,
        )

    def _areas(self, boxes: Tensor) -> Tensor:
        return areas_around(boxes, self.margin, self.region_size[1] / self.region_size[0])

    def _whole_image(self, frame: Frame) -> Objects:
        """One object per image, as large as the image."""
        height, width = frame.sizes.float().unbind(dim=1)
        zero = torch.zeros_like(height)
        box = torch.stack([zero, zero, width, height], dim=1)[:, None]
        label = torch.zeros_like(frame.sizes[:, :1])
        return Objects(box, box, torch.ones_like(height)[:, None], label, torch.ones_like(frame.sizes[:, 0]))

    def _labeled_objects(self, targets: KeypointTargets) -> tuple[Tensor, Objects]:
        """The labeled objects with their points (N, D, K, 3); D is at least 1, as the head cannot run on zero objects."""
        if targets.boxes.shape[1] == 0:
            targets = targets._replace(
                points=F.pad(targets.points, (0, 0, 0, 0, 0, 1)),
                boxes=F.pad(targets.boxes, (0, 0, 0, 1)),
                labels=F.pad(targets.labels, (0, 1), value=-1),
            )
        boxes = targets.boxes.float()
        jittered = jitter_boxes(boxes, self.jitter) if self.training else boxes
        scores = torch.ones_like(boxes[..., 0])
        return targets.points, Objects(self._areas(jittered), boxes, scores, targets.labels, targets.count)


def _largest(targets: KeypointTargets) -> Tensor:
    """(N, 1, K, 3) the points of each image's largest object; not labeled if there is none."""
    if targets.boxes.shape[1] == 0:
        return targets.points.new_zeros(len(targets.count), 1, *targets.points.shape[2:])
    real = torch.arange(targets.boxes.shape[1], device=targets.count.device) < targets.count[:, None]
    largest = torch.where(real, box_area(targets.boxes), -1.0).argmax(dim=1)
    points = targets.points[torch.arange(len(largest), device=largest.device), largest][:, None]
    return torch.where((targets.count > 0)[:, None, None, None], points, 0.0)


def default_levels(in_spec: FeatureSpec, on_boxes: bool) -> tuple[int, ...]:
    """The levels that are read by default: all for boxes, which may be small; for a whole image the deepest one, and after a
    neck also the finest one, which a neck has fused with the deeper ones (all levels have the same channels then).

    Where several levels share a stride, the deepest one is read; levels finer than stride 4 only if there are no others. The
    deepest level, which an encoder replaces, is always read.

    Raises:
        IncompatiblePartsError: there is no level.
    """
    in_spec.require_levels()
    strides = in_spec.strides
    deepest = [n for n in range(len(strides)) if n + 1 == len(strides) or strides[n + 1] != strides[n]]
    used = [n for n in deepest if strides[n] >= FINEST] or deepest[-1:]
    if on_boxes:
        return tuple(used)
    after_neck = len({in_spec.channels[n] for n in used}) == 1
    return tuple(sorted({used[0], used[-1]})) if after_neck else (used[-1],)
