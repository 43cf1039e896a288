"""Mask R-CNN: the mask of each box of a detection branch."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.base import AnyDecoder, Decoder, ScopeUse
from vertebra.decoders.teacher_outputs import check_same_decoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Proposals
from vertebra.geometry.mask_cells import shares_in_areas
from vertebra.geometry.rois import jitter_boxes
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.region_features import RegionFeatures
from vertebra.layers.roi import list_areas
from vertebra.layers.tracing import is_tracing
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.masks import mask_term, soft_mask_term
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.targets import InstanceDecoded, InstanceTargets

FINEST, COARSEST = 4, 32  # strides that are read by default


class MaskRCNNOutputs(NamedTuple):
    """Raw outputs.

    Attributes:
        logits: (N, D, S, S), the mask of each object's class in the cells of its box; 0 for padding.
        objects: the boxes with their scores and classes.
    """

    logits: Tensor
    objects: Proposals


class MaskRCNN(Decoder[MaskRCNNOutputs, InstanceTargets, InstanceDecoded]):
    """The mask of each box of another branch (``boxes_from``): a small convolutional network on the features inside the box.

    It works on the boxes of any detector, with one stage or two. The loss reads the ground-truth boxes, jittered in training like a
    detector's errors; the paper samples proposals instead. Masks are learned and drawn to a part of a cell: targets are the shares
    of the cells that objects cover.

    Args:
        in_spec: the input features.
        labels: the classes.
        levels: indices of the levels that are read; None: those of strides 4 to 32, of several with one stride the deepest.
        channels: channels of the convolutions; a 1x1 convolution projects a level with other channels. None: the neck's, or from
            the backbone's.
        convs: number of 3x3 convolutions.
        norm: their normalization; "group" learns more slowly, as it takes the statistics of each box away.
        region_size: cells along each side of a box from which features are read; masks have twice as many.
        half_pixel: whether RoIAlign uses pixel centers at half coordinates (``aligned=True``); torchvision's model does not.
        jitter: in training, a ground-truth box is shifted and resized by up to this fraction of its sides.
        samples: largest number of an image's objects in the loss.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range.
    """

    task: ClassVar[str] = "instances"
    terms: ClassVar[tuple[str, ...]] = ("mask",)
    paper: ClassVar[str] = (
        "He et al., Mask R-CNN, ICCV 2017, arXiv 1703.06870; the form with normalization as in Li et al., Benchmarking Detection "
        "Transfer Learning, 2021, arXiv 2111.11429"
    )
    scope_use: ClassVar[ScopeUse] = "full"  # learns from annotated objects only, each by the mask of its class
    needs: str | None = "boxes"
    labels: InstanceLabels

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: InstanceLabels,
        *,
        levels: list[int] | None = None,
        channels: int | None = None,
        convs: int = 4,
        norm: Literal["batch", "group", "none"] = "none",
        region_size: int = 14,
        half_pixel: bool = True,
        jitter: float = 0.1,
        samples: int = 64,
    ) -> None:
        super().__init__(in_spec, labels)
        name = "decoder 'mask_rcnn'"
        check_range(name, minimum=1, channels=channels, region_size=region_size, samples=samples)
        check_range(name, minimum=0, convs=convs)
        check_range(name, minimum=0, maximum=0.9, jitter=jitter)
        in_spec.require_levels()
        self.in_levels = _default_levels(in_spec) if levels is None else _checked(name, in_spec, levels)
        widths = [in_spec.channels[index] for index in self.in_levels]
        width = channels or (widths[0] if len(set(widths)) == 1 and widths[0] <= 256 else default_channels(in_spec))
        self.projections = nn.ModuleList(
            nn.Identity() if channels_in == width else nn.Conv2d(channels_in, width, 1) for channels_in in widths
        )
        self.regions = RegionFeatures([in_spec.strides[index] for index in self.in_levels], region_size, half_pixel)
        self.head = MaskHead(width, convs, norm, labels.class_count)
        self.jitter, self.samples = jitter, samples
        self.cells = 2 * region_size

    def forward(self, features: Features, proposals: Proposals | None = None) -> MaskRCNNOutputs:
        """The masks of ``proposals``."""
        if proposals is None:
            raise ValueError("a decoder that reads boxes needs proposals")
        return self._predict(features, proposals)

    def loss(self, features: Features, targets: InstanceTargets) -> tuple[dict[str, LossTerm], MaskRCNNOutputs]:
        """Binary cross-entropy of the masks of ground-truth objects; the outputs are those of these objects."""
        targets = self._sample(targets)
        boxes = targets.boxes.float()
        areas = jitter_boxes(boxes, self.jitter) if self.training else boxes
        objects = Proposals(areas, torch.ones_like(boxes[..., 0]), targets.labels, targets.count)
        outputs = self._predict(features, objects)
        shares = shares_in_areas(targets.masks, boxes, areas, self.cells)
        return {"mask": mask_term(outputs.logits, shares, _real(objects))}, outputs

    def distillation(self, outputs: MaskRCNNOutputs, teacher: AnyDecoder, features: Features) -> LossTerm:
        """Divergence from the masks that the teacher's decoder gives to the same boxes."""
        check_same_decoder(self, teacher)
        assert isinstance(teacher, MaskRCNN)
        if teacher.cells != self.cells:
            raise ConfigError(
                f"the teacher's masks have {teacher.cells} cells along a side, and these {self.cells}; set its 'region_size'"
            )
        with torch.no_grad():
            taught = teacher._predict(features, outputs.objects)
        return soft_mask_term(outputs.logits, taught.logits, _real(outputs.objects))

    def decode(self, outputs: MaskRCNNOutputs, frame: Frame) -> InstanceDecoded:
        """The probabilities in the cells of the boxes, in the order of these."""
        objects = outputs.objects
        masks = torch.where(_real(objects)[..., None, None], outputs.logits.float().sigmoid(), 0.0)
        return InstanceDecoded(masks, objects.boxes.float(), objects.scores.float(), objects.labels, objects.count)

    def _predict(self, features: Features, objects: Proposals) -> MaskRCNNOutputs:
        maps = [
            project(features.maps[index]) for project, index in zip(self.projections, self.in_levels or (), strict=True)
        ]
        listed, labels = list_areas(objects.boxes), objects.labels.flatten().clamp(min=0)
        if is_tracing(listed):  # shapes in a graph must not depend on values: padding is computed, too
            logits = self.head(self.regions.listed(maps, listed), labels)
        else:
            rows = _real(objects).flatten().nonzero()[:, 0]
            rows = rows if len(rows) else torch.zeros_like(labels[:1])
            known = self.head(self.regions.listed(maps, listed[rows]), labels[rows])
            logits = known.new_zeros(len(listed), self.cells, self.cells).index_copy(0, rows, known)
        logits = logits.reshape(*objects.labels.shape, self.cells, self.cells)
        return MaskRCNNOutputs(torch.where(_real(objects)[..., None, None], logits, 0), objects)

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


class MaskHead(nn.Module):
    """Convolutions, a transposed convolution that doubles the resolution, and a mask for each class.

    Args:
        width: channels of all layers.
        convs: number of 3x3 convolutions.
        norm: their normalization.
        classes: number of classes.
    """

    def __init__(self, width: int, convs: int, norm: Literal["batch", "group", "none"], classes: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(ConvNormAct(width, width, norm=norm) for _ in range(convs)))
        self.upsample = nn.ConvTranspose2d(width, width, 2, stride=2)
        nn.init.normal_(self.upsample.weight, std=(2 / width) ** 0.5)  # each output cell depends on one input cell
        assert self.upsample.bias is not None
        nn.init.zeros_(self.upsample.bias)
        self.logits = ClassLogits(width, classes)

    def forward(self, regions: Tensor, labels: Tensor) -> Tensor:
        """(R, 2 h, 2 w) logits of the masks of classes (R,), from regions (R, width, h, w)."""
        logits: Tensor = self.logits(F.relu(self.upsample(self.convs(regions))), labels)
        return logits


class ClassLogits(nn.Module):
    """A 1x1 convolution to one channel for each class, of which only that of each region's class is computed.

    Args:
        width: input channels.
        classes: number of classes.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, maps: Tensor, labels: Tensor) -> Tensor:
        """(R, h, w) from maps (R, width, h, w) and classes (R,)."""
        weight, bias = self.weight[labels].to(maps.dtype), self.bias[labels].to(maps.dtype)
        logits = torch.bmm(weight[:, None], maps.flatten(2))[:, 0] + bias[:, None]
        return logits.reshape(maps.shape[0], *maps.shape[2:])


def _real(objects: Proposals) -> Tensor:
    """(N, D) bool."""
    return torch.arange(objects.boxes.shape[1], device=objects.count.device) < objects.count[:, None]


def _default_levels(in_spec: FeatureSpec) -> tuple[int, ...]:
    deepest = list({stride: index for index, stride in enumerate(in_spec.strides)}.values())
    used = [index for index in deepest if FINEST <= in_spec.strides[index] <= COARSEST]
    return tuple(used or deepest[-1:])


def _checked(name: str, in_spec: FeatureSpec, levels: list[int]) -> tuple[int, ...]:
    count = len(in_spec.levels)
    if not levels or any(not 0 <= level < count for level in levels):
        raise ConfigError(f"{name}: 'levels' must name some of the levels 0 to {count - 1}, got {levels}")
    return tuple(sorted(set(levels)))
