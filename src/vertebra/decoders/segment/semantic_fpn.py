"""The semantic branch of panoptic feature pyramid networks."""

from __future__ import annotations

from functools import reduce
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.decoders.segment._unet_blocks import levels_to_join
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.init import init_conv_
from vertebra.layers.norm import group_norm
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Fit, ceil_divided, fit_to, upsample_like
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class SemanticFPN(SegmentDecoder):
    """Semantic FPN decoder: convolutions and upsampling bring each level to the finest stride, where the maps are summed; light
    and accurate on neck 'fpn'.

    Args:
        channels: channels of the decoder.
        finest_stride: levels finer than this are left out; also the stride of the logits.
        pyramid_channels: channels of a built-in feature pyramid (1x1 convolutions and top-down sums) for backbones without a
            neck; None: no such pyramid. Neck 'fpn' is a better one.
        merge: "add" sums the maps, "concatenate" concatenates their channels.
        groups: groups of the group normalization; None: 32, or fewer, so that a group has at least four channels.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how coarse maps are resized to finer ones, and the logits to the canvas.
    """

    paper: ClassVar[str] = (
        "Kirillov et al., Panoptic Feature Pyramid Networks, CVPR 2019, arXiv 1901.02446 (the semantic branch; the "
        "built-in pyramid has no 3x3 convolutions)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int = 128,
        finest_stride: int = 4,
        pyramid_channels: int | None = None,
        merge: Literal["add", "concatenate"] = "add",
        groups: int | None = None,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'fpn'", minimum=0, maximum=1, dropout=dropout)
        at_least_one = {"channels": channels, "finest_stride": finest_stride, "pyramid_channels": pyramid_channels}
        check_range("decoder 'fpn'", minimum=1, groups=groups, **at_least_one)
        if groups is not None and channels % groups:
            raise ConfigError(f"decoder 'fpn': 'groups' must divide 'channels', got {groups} and {channels}")
        self.used = levels_to_join(in_spec, finest_stride, "finest_stride")
        self.in_levels = tuple(self.used)
        finest = self.used[0]
        self.stride = in_spec.strides[finest]
        self.merge = merge
        widths = [in_spec.channels[index] for index in self.used]
        self.pyramid: nn.ModuleList | None = None
        if pyramid_channels is not None:
            self.pyramid = nn.ModuleList(
                ConvNormAct(width, pyramid_channels, 1, norm="none", activation=False) for width in widths
            )
            self.steps = [in_spec.ratio(coarse, fine) for fine, coarse in zip(self.used, self.used[1:], strict=False)]
            widths = [pyramid_channels] * len(widths)
        self.paths = nn.ModuleList(
            UpsampleBranch(width, channels, in_spec.ratio(index, finest), groups, fit)
            for width, index in zip(widths, self.used, strict=True)
        )
        self.finish(channels * (1 if merge == "add" else len(widths)), dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """All levels at the finest one's size, added or concatenated, the deepest first."""
        levels = [features.maps[index] for index in self.used]
        if self.pyramid is not None:
            levels = self._pyramid(levels)
        size = (levels[0].shape[-2], levels[0].shape[-1])
        up = [path(level, size) for path, level in zip(self.paths, levels, strict=True)][::-1]
        return reduce(torch.add, up) if self.merge == "add" else torch.cat(up, dim=1)

    def _pyramid(self, levels: list[Tensor]) -> list[Tensor]:
        """The levels of the built-in feature pyramid."""
        assert self.pyramid is not None
        merged = [conv(level) for conv, level in zip(self.pyramid, levels, strict=True)]
        for fine in range(len(merged) - 2, -1, -1):
            merged[fine] = merged[fine] + upsample_like(merged[fine + 1], merged[fine], self.steps[fine])
        return merged


class UpsampleBranch(nn.Module):
    """3x3 convolutions with group normalization and ReLU, each followed by upsampling, up to a finer stride.

    Args:
        ratio: of the two strides; 1 gives one convolution without upsampling.
    """

    def __init__(self, in_channels: int, channels: int, ratio: int, groups: int | None, fit: Fit) -> None:
        super().__init__()
        self.fit: Fit = fit
        self.ratios = _doublings(ratio)
        self.convs = nn.ModuleList()
        for number in range(max(1, len(self.ratios))):
            conv = nn.Conv2d(in_channels if number == 0 else channels, channels, 3, padding=1, bias=False)
            init_conv_(conv, rectified=True)
            norm = group_norm(channels, min_channels=4) if groups is None else nn.GroupNorm(groups, channels)
            self.convs.append(nn.Sequential(conv, norm, nn.ReLU(inplace=True)))

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """From (N, in_channels, h, w) to (N, channels, H, W) for a ``size`` of (H, W)."""
        maps = self.convs[0](maps)
        remaining = 1
        for ratio in self.ratios:
            remaining *= ratio
        for number, ratio in enumerate(self.ratios):
            if number:
                maps = self.convs[number](maps)
            remaining //= ratio
            maps = fit_to(maps, (ceil_divided(size[0], remaining), ceil_divided(size[1], remaining)), ratio, self.fit)
        return maps


def _doublings(ratio: int) -> list[int]:
    """A ratio as factors of 2, with an odd factor at the end: 8 is 2, 2, 2 and 6 is 2, 3."""
    steps = []
    while ratio % 2 == 0:
        steps.append(2)
        ratio //= 2
    return steps if ratio == 1 else [*steps, ratio]
