"""Mask R-CNN: the mask of each box of a detection branch."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.instances._box_masks import BoxMaskDecoder, BoxMasks, real_rows
from vertebra.features import Features, FeatureSpec, Proposals
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.region_features import RegionFeatures
from vertebra.layers.roi import list_areas
from vertebra.layers.tracing import is_tracing
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.masks import mask_term
from vertebra.tasks.instances.labels import InstanceLabels


class MaskRCNN(BoxMaskDecoder):
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

    terms: ClassVar[tuple[str, ...]] = ("mask",)
    paper: ClassVar[str] = (
        "He et al., Mask R-CNN, ICCV 2017, arXiv 1703.06870; the form with normalization as in Li et al., Benchmarking Detection "
        "Transfer Learning, 2021, arXiv 2111.11429"
    )
    part: ClassVar[str] = "mask_rcnn"
    cells_option: ClassVar[str] = "region_size"

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
        super().__init__(in_spec, labels, levels=levels, cells=2 * region_size, jitter=jitter, samples=samples)
        check_range(self.name, minimum=1, channels=channels, region_size=region_size)
        check_range(self.name, minimum=0, convs=convs)
        widths = [in_spec.channels[index] for index in self.in_levels]
        width = channels or (widths[0] if len(set(widths)) == 1 and widths[0] <= 256 else default_channels(in_spec))
        self.projections = nn.ModuleList(
            nn.Identity() if channels_in == width else nn.Conv2d(channels_in, width, 1) for channels_in in widths
        )
        self.regions = RegionFeatures([in_spec.strides[index] for index in self.in_levels], region_size, half_pixel)
        self.head = MaskHead(width, convs, norm, labels.class_count)

    def compare(self, outputs: BoxMasks, shares: Tensor) -> dict[str, LossTerm]:
        """Binary cross-entropy."""
        return {"mask": mask_term(outputs.logits, shares, outputs.real)}

    def predict(self, features: Features, objects: Proposals) -> BoxMasks:
        """The masks of boxes, each that of its object's class."""
        maps = [project(features.maps[index]) for project, index in zip(self.projections, self.in_levels, strict=True)]
        listed, labels = list_areas(objects.boxes), objects.labels.flatten().clamp(min=0)
        if is_tracing(listed):  # shapes in a graph must not depend on values: padding is computed, too
            logits = self.head(self.regions.listed(maps, listed), labels)
        else:
            rows = real_rows(objects).flatten().nonzero()[:, 0]
            rows = rows if len(rows) else torch.zeros_like(labels[:1])
            known = self.head(self.regions.listed(maps, listed[rows]), labels[rows])
            logits = known.new_zeros(len(listed), self.cells, self.cells).index_copy(0, rows, known)
        logits = logits.reshape(*objects.labels.shape, self.cells, self.cells)
        return BoxMasks(torch.where(real_rows(objects)[..., None, None], logits, 0), objects)


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
