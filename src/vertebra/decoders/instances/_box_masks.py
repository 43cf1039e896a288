"""The base class of decoders that predict a mask for each box of a detection branch."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.teacher_outputs import check_same_decoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.mask_cells import shares_in_areas
from vertebra.geometry.rois import jitter_boxes
from vertebra.layers.option_range import check_range
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.masks import soft_mask_term
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.targets import InstanceDecoded, InstanceTargets

FINEST, COARSEST = 4, 32  # strides that are read by default


class BoxMasks(NamedTuple):
    """Raw outputs.

    Attributes:
        logits: (N, D, S, S), the mask of each object in the cells of its box; 0 for padding.
        objects: the boxes with their scores and classes.
    """

    logits: Tensor
    objects: Proposals

    @property
    def real(self) -> Tensor:
        """(N, D) bool."""
        return real_rows(self.objects)


class BoxMaskDecoder(Decoder[BoxMasks, InstanceTargets, InstanceDecoded]):
    """A decoder of the masks of another branch's boxes (``boxes_from``), those of any detector.

    The loss reads the ground-truth boxes, jittered in training like a detector's errors. Targets are the shares of the cells that
    objects cover, so masks are learned and drawn to a part of a cell.

    Subclasses define their name for messages (``part``), the option that sets the number of cells (``cells_option``), `predict` and
    the losses (`compare`).

    Args:
        levels: indices of the levels that are read; None: see `default_levels`.
        cells: along each side of a box.
        jitter: see `vertebra.geometry.rois.jitter_boxes`.
        samples: largest number of an image's objects in the loss.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "instances"
    part: ClassVar[str]
    cells_option: ClassVar[str]
    scope_use: ClassVar[ScopeUse] = "full"  # learns from annotated objects only, each by the mask of its class
    needs: str | None = "boxes"
    labels: InstanceLabels
    in_levels: tuple[int, ...]

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: InstanceLabels,
        *,
        levels: list[int] | None,
        cells: int,
        jitter: float,
        samples: int,
    ) -> None:
        super().__init__(in_spec, labels)
        self.name = f"decoder '{self.part}'"
        check_range(self.name, minimum=1, samples=samples)
        check_range(self.name, minimum=0, maximum=0.9, jitter=jitter)
        in_spec.require_levels()
        self.in_levels = default_levels(in_spec) if levels is None else checked_levels(self.name, in_spec, levels)
        self.cells, self.jitter, self.samples = cells, jitter, samples

    @abstractmethod
    def predict(self, features: Features, objects: Proposals) -> BoxMasks:
        """The masks of boxes."""

    @abstractmethod
    def compare(self, outputs: BoxMasks, shares: Tensor) -> dict[str, LossTerm]:
        """The loss terms of masks with the true shares (N, D, S, S) of their cells."""

    def forward(self, features: Features, proposals: Proposals | None = None) -> BoxMasks:
        """The masks of ``proposals``."""
        if proposals is None:
            raise ValueError("a decoder that reads boxes needs proposals")
        return self.predict(features, proposals)

    def loss(self, features: Features, targets: InstanceTargets) -> tuple[dict[str, LossTerm], BoxMasks]:
        """The loss of the masks of ground-truth objects; the outputs are those of these objects."""
        targets = self._sample(targets)
        boxes = targets.boxes.float()
        areas = jitter_boxes(boxes, self.jitter) if self.training else boxes
        objects = Proposals(areas, torch.ones_like(boxes[..., 0]), targets.labels, targets.count)
        outputs = self.predict(features, objects)
        return self.compare(outputs, shares_in_areas(targets.masks, boxes, areas, self.cells)), outputs

    def distillation(self, outputs: BoxMasks, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence from the masks that the teacher's decoder gives to the same boxes."""
        check_same_decoder(self, teacher)
        assert isinstance(teacher, BoxMaskDecoder)
        if teacher.cells != self.cells:
            raise ConfigError(
                f"the teacher's masks have {teacher.cells} cells along a side, and these {self.cells}; set its "
                f"'{self.cells_option}'"
            )
        with torch.no_grad():
            taught = teacher.predict(features, outputs.objects)
        return soft_mask_term(outputs.logits, taught.logits, outputs.real)

    def decode(self, outputs: BoxMasks, frame: Frame) -> InstanceDecoded:
        """The probabilities in the cells of the boxes, in the order of these."""
        objects = outputs.objects
        masks = torch.where(outputs.real[..., None, None], outputs.logits.float().sigmoid(), 0.0)
        return InstanceDecoded(masks, objects.boxes.float(), objects.scores.float(), objects.labels, objects.count)

    def _sample(self, targets: InstanceTargets) -> InstanceTargets:
        """At least one and at most ``samples`` objects of each image, random ones in training."""
        count = targets.boxes.shape[1]
        if not count:
            shape = (len(targets.count), 1)
            cells = targets.masks.shape[-1]
            masks, boxes = targets.masks.new_zeros(*shape, cells, cells), targets.boxes.new_zeros(*shape, 4)
            return InstanceTargets(masks, boxes, targets.labels.new_full(shape, -1), targets.count)
        if count <= self.samples:
            return targets
        drawn = torch.rand(targets.labels.shape, device=targets.labels.device)
        order = drawn if self.training else -torch.arange(count, device=drawn.device).expand(drawn.shape) - 1.0
        real = torch.arange(count, device=drawn.device) < targets.count[:, None]
        rows = torch.where(real, order, -count - 1.0).topk(self.samples).indices
        return InstanceTargets(
            masks=targets.masks.gather(1, rows[..., None, None].expand(-1, -1, *targets.masks.shape[2:])),
            boxes=targets.boxes.gather(1, rows[..., None].expand(-1, -1, 4)),
            labels=targets.labels.gather(1, rows),
            count=targets.count.clamp(max=self.samples),
        )


def real_rows(objects: Proposals) -> Tensor:
    """(N, D) bool, which boxes are no padding."""
    return torch.arange(objects.boxes.shape[1], device=objects.count.device) < objects.count[:, None]


def default_levels(in_spec: FeatureSpec) -> tuple[int, ...]:
    """The levels of strides 4 to 32, of several with one stride the deepest; the deepest of all where there is none of these."""
    deepest = list({stride: index for index, stride in enumerate(in_spec.strides)}.values())
    used = [index for index in deepest if FINEST <= in_spec.strides[index] <= COARSEST]
    return tuple(used or deepest[-1:])


def checked_levels(name: str, in_spec: FeatureSpec, levels: list[int]) -> tuple[int, ...]:
    """The chosen levels in order, or `ConfigError`."""
    count = len(in_spec.levels)
    if not levels or any(not 0 <= level < count for level in levels):
        raise ConfigError(f"{name}: 'levels' must name some of the levels 0 to {count - 1}, got {levels}")
    return tuple(sorted(set(levels)))
