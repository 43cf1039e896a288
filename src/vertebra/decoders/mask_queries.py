"""Networks of queries that predict a class and a mask each: the contract, and what their decoders share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vertebra.decoders.mask_query_loss import QueryMasks
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.layers.default_channels import default_channels
from vertebra.layers.padding import valid_cells

FINEST, COARSEST = 4, 32  # strides that are read
MIN_SCORE = 1e-6  # of a class in a cell


class QueryMaskNetwork(nn.Module, ABC):
    """A network that gives each query's class and mask.

    Attributes:
        in_levels: indices of the levels that it reads.
        stride: pixels in a cell of the masks.
    """

    in_levels: tuple[int, ...]
    stride: int

    @abstractmethod
    def forward(self, features: Features, every_layer: bool = False) -> list[QueryMasks]:
        """The predictions after the last layer; with ``every_layer`` after each layer, the last one's last."""


class MaskEmbedding(nn.Sequential):
    """Three linear layers from a query to the weights of the pixels' channels.

    Args:
        width: of a query and of a pixel.
    """

    def __init__(self, width: int) -> None:
        hidden = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        super().__init__(*hidden, nn.Linear(width, width))


def masks_of(embedding: Tensor, pixels: Tensor) -> Tensor:
    """(N, Q, h, w) mask logits, the products of queries (N, Q, C) and pixels (N, C, h, w)."""
    return torch.bmm(embedding, pixels.flatten(2)).reshape(*embedding.shape[:2], *pixels.shape[-2:])


def used_levels(in_spec: FeatureSpec) -> tuple[int, ...]:
    """The levels that are read: of each stride from 4 to 32 the deepest one; the deepest of all if there is none.

    Raises:
        IncompatiblePartsError: there is no level, or strides do not divide each other.
    """
    in_spec.require_levels()
    deepest = list({stride: index for index, stride in enumerate(in_spec.strides)}.values())
    levels = [index for index in deepest if FINEST <= in_spec.strides[index] <= COARSEST] or deepest[-1:]
    for level in levels:
        in_spec.ratio(level, levels[0])
    return tuple(levels)


def query_width(name: str, in_spec: FeatureSpec, levels: tuple[int, ...], channels: int | None, heads: int) -> int:
    """The channels of queries: ``channels``, or by default those of all levels if they are the same and at most 256, as behind an
    encoder or a neck.

    Raises:
        ConfigError: they are no multiple of 4 and of ``heads``.
    """
    widths = {in_spec.channels[level] for level in levels}
    same = len(widths) == 1 and max(widths) <= 256 and not max(widths) % heads and not max(widths) % 4
    width = channels or (max(widths) if same else default_channels(in_spec, minimum=128))
    if width % heads or width % 4:
        raise ConfigError(f"{name}: channels {width} must be a multiple of 4 and of heads {heads}")
    return width


def class_scores(outputs: QueryMasks, *, multilabel: bool) -> Tensor:
    """The logits of each class in each cell, from the sum over queries of the class's probability times the mask's.

    Cheng et al., Per-Pixel Classification is Not All You Need for Semantic Segmentation, NeurIPS 2021, arXiv 2107.06278. As logits
    the sums keep borders inside a cell when they are resized.

    Args:
        outputs: of the last layer.
        multilabel: whether the logits are for a sigmoid for each class, of sums of at most 1; else for one softmax, which divides
            the sums of a cell by their total.

    Returns:
        (N, classes, h, w) float32.
    """
    shares = outputs.class_logits.float().softmax(dim=-1)[..., :-1]
    masks = outputs.mask_logits.float().sigmoid()
    sums = masks_of(shares.transpose(1, 2), masks)
    return sums.logit(eps=MIN_SCORE) if multilabel else sums.clamp(min=MIN_SCORE).log()


def mask_quality(mask_logits: Tensor, frame: Frame, stride: int) -> tuple[Tensor, Tensor]:
    """How sure masks are of their pixels.

    Args:
        mask_logits: (N, Q, h, w).
        frame: of the batch; cells beyond an image do not count.

    Returns:
        (N, Q) the mean probability of the cells above one half, 0 for a mask without any; (N, Q, h, w) float32 logits, very low
        beyond the image.
    """
    inside = valid_cells(frame, mask_logits, stride)[:, None]
    logits = torch.where(inside, mask_logits.float(), -1e4)
    chosen = (logits > 0).float()
    sums = (logits.sigmoid() * chosen).sum(dim=(-2, -1))
    return sums / chosen.sum(dim=(-2, -1)).clamp(min=1), logits
