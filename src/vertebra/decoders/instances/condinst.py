"""CondInst: the mask of each box, by a small network whose weights are predicted for its object."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.decoders.instances._box_masks import BoxMaskDecoder, BoxMasks
from vertebra.features import Features, FeatureSpec, Proposals
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.option_range import check_range
from vertebra.layers.roi import FusedLevels, sampled_features
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.masks import dice_term, mask_term
from vertebra.tasks.instances.labels import InstanceLabels

CONTROLLER_CELLS = 7  # along each side of a box, from which the filters are predicted
LAYERS = 3  # of the network of an object


class CondInst(BoxMaskDecoder):
    """The mask of each box of another branch (``boxes_from``): convolutions over the whole image, once for all objects, then for
    each object a network of three 1x1 convolutions, whose weights are predicted from the features in its box.

    An object costs little, so it is many times as fast as `mask_rcnn` where there are many objects. The levels are added on the
    finest of them; its cells are interpolated at the centers of the cells of a mask before the object's network, which is not
    linear, so outlines are finer than the features. The network reads the position in the box as well.

    Differences from the paper: any detector's boxes instead of FCOS's locations; the weights are predicted from 7x7 cells of the
    box and the object's class, and start as those of one network for all objects; positions and masks are those of the box; binary
    cross-entropy beside the Dice loss.

    Args:
        in_spec: the input features.
        labels: the classes.
        levels: indices of the levels that are read; None: those of strides 4 to 32, of several with one stride the deepest.
        channels: channels of the convolutions, to which all levels are projected.
        convs: number of 3x3 convolutions on the finest level.
        norm: their normalization.
        mask_channels: channels of the features that an object's network reads, and of its layers.
        mask_size: cells along each side of a mask.
        jitter: in training, a ground-truth box is shifted and resized by up to this fraction of its sides.
        samples: largest number of an image's objects in the loss.

    Raises:
        IncompatiblePartsError: there is no level, or the levels' strides do not divide each other.
        ConfigError: an option is out of range.
    """

    terms: ClassVar[tuple[str, ...]] = ("mask", "dice")
    paper: ClassVar[str] = (
        "Tian et al., Conditional Convolutions for Instance Segmentation, ECCV 2020, arXiv 2003.05664"
    )
    part: ClassVar[str] = "condinst"
    cells_option: ClassVar[str] = "mask_size"

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: InstanceLabels,
        *,
        levels: list[int] | None = None,
        channels: int = 64,
        convs: int = 3,
        norm: Literal["batch", "group", "none"] = "batch",
        mask_channels: int = 8,
        mask_size: int = 28,
        jitter: float = 0.1,
        samples: int = 64,
    ) -> None:
        super().__init__(in_spec, labels, levels=levels, cells=mask_size, jitter=jitter, samples=samples)
        check_range(self.name, minimum=1, channels=channels, mask_channels=mask_channels, mask_size=mask_size)
        check_range(self.name, minimum=0, convs=convs)
        self.fused = FusedLevels(in_spec, self.in_levels, channels)
        self.convs = nn.Sequential(*(ConvNormAct(channels, channels, norm=norm) for _ in range(convs)))
        self.mask_features = nn.Conv2d(channels, mask_channels, 1)
        self.filters = FilterController(channels, mask_channels, labels.class_count)

    def compare(self, outputs: BoxMasks, shares: Tensor) -> dict[str, LossTerm]:
        """Binary cross-entropy and the Dice loss."""
        return {
            "mask": mask_term(outputs.logits, shares, outputs.real),
            "dice": dice_term(outputs.logits, shares, outputs.real),
        }

    def predict(self, features: Features, objects: Proposals) -> BoxMasks:
        """The masks of boxes."""
        maps = self.convs(self.fused(features.maps))
        boxes, stride = objects.boxes, self.fused.strides[0]
        filters = self.filters(sampled_features(maps, stride, boxes, CONTROLLER_CELLS), objects.labels.flatten())
        cells = sampled_features(self.mask_features(maps), stride, boxes, self.cells)
        logits = filtered(cells, filters).reshape(*objects.labels.shape, self.cells, self.cells)
        outputs = BoxMasks(logits, objects)
        return outputs._replace(logits=torch.where(outputs.real[..., None, None], logits, 0))


class FilterController(nn.Module):
    """The weights of each object's network, from the features in its box and its class.

    The biases of the last layer are the initial weights of all networks, so training begins with one network for all objects.

    Args:
        width: channels of the features.
        mask_channels: see `filtered`.
        classes: number of classes.
    """

    def __init__(self, width: int, mask_channels: int, classes: int) -> None:
        super().__init__()
        self.sizes = list(itertools.chain(*((out * inputs, out) for out, inputs in _layers(mask_channels))))
        self.hidden = nn.Linear(width * CONTROLLER_CELLS**2, 2 * width)
        self.classes = nn.Embedding(classes, 2 * width)
        self.filters = nn.Linear(2 * width, sum(self.sizes))
        nn.init.zeros_(self.classes.weight)
        nn.init.normal_(self.filters.weight, std=0.01)
        initial = []
        for out, inputs in _layers(mask_channels):
            std = math.sqrt(2 / inputs) if out > 1 else 0.1 / math.sqrt(inputs)  # masks start near one half
            initial += [torch.randn(out * inputs) * std, torch.zeros(out)]
        self.filters.bias = nn.Parameter(torch.cat(initial))

    def forward(self, features: Tensor, labels: Tensor) -> list[Tensor]:
        """For each layer weights (R, out * in) and biases (R, out), float32, of features (R, C, h, w) and class ids (R,)."""
        dtype = self.hidden.weight.dtype
        hidden = self.hidden(features.flatten(1).to(dtype)) + self.classes(labels.clamp(min=0))
        return list(self.filters(F.relu(hidden)).float().split(self.sizes, dim=1))


def _layers(mask_channels: int) -> list[tuple[int, int]]:
    """Output and input channels of each layer of an object's network; the input has two coordinates more."""
    inputs = [mask_channels + 2, *[mask_channels] * (LAYERS - 1)]
    return list(zip([*[mask_channels] * (LAYERS - 1), 1], inputs, strict=True))


def filtered(cells: Tensor, filters: list[Tensor]) -> Tensor:
    """Applies to each object its network: 1x1 convolutions with ReLU between them.

    Args:
        cells: (R, C, S, S) float32 features in the boxes; x and y in the box, -1 to 1, are added as two channels.
        filters: see `FilterController`.

    Returns:
        (R, S * S) logits.
    """
    count, size = cells.shape[0], cells.shape[-1]
    at = (torch.arange(size, device=cells.device) + 0.5) * (2 / size) - 1
    position = torch.stack(torch.meshgrid(at, at, indexing="xy")).flatten(1)
    values = torch.cat([cells.flatten(2), position.expand(count, 2, size * size)], dim=1)
    for layer in range(LAYERS):
        biases = filters[2 * layer + 1]
        weights = filters[2 * layer].reshape(count, biases.shape[1], -1)
        values = torch.baddbmm(biases[..., None], weights, F.relu(values) if layer else values)
    return values[:, 0]
