"""The dense prediction transformer's decoder."""

from __future__ import annotations

import itertools
from typing import ClassVar

from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Fit, fit_to
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class DPT(SegmentDecoder):
    """Dense prediction transformer: reassembles several levels of a vision transformer into a pyramid of strides and fuses them
    from coarse to fine, doubling the resolution each time. It also works with the levels of any other backbone.

    Levels of the same stride s become strides s/4, s/2, s, 2s … (a single level stays as it is); levels of different
    strides keep theirs.

    Args:
        channels: channels of the fusion; None: derived from the backbone.
        level_channels: channels of each level before its stride is changed, finest first; None: those of the level.
        readout: output channels of a first linear layer with GELU on each level, which merges the class token in its channels
            (the backbone's ``class_token: true``); None for no such layer.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how maps are upsampled and the logits resized to the canvas; "corners" as in segmentation-models-pytorch.
    """

    paper: ClassVar[str] = (
        "Ranftl et al., Vision Transformers for Dense Prediction, ICCV 2021, arXiv 2103.13413 (with normalization in the "
        "fusion, as in the paper's segmentation models)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        level_channels: list[int] | None = None,
        readout: int | None = None,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'dpt'", minimum=0, maximum=1, dropout=dropout)
        check_range(
            "decoder 'dpt'", minimum=1, channels=channels, readout=readout, level_channels=min(level_channels or [1])
        )
        self.used, self.strides = _pyramid(in_spec)
        self.in_levels = tuple(self.used)
        in_channels = [readout or in_spec.channels[index] for index in self.used]
        if level_channels is not None and len(level_channels) != len(in_channels):
            raise ConfigError(
                f"decoder 'dpt': 'level_channels' needs {len(in_channels)} numbers, one for each level, got {len(level_channels)}"
            )
        width = channels or default_channels(in_spec)
        self.readouts = nn.ModuleList(
            nn.Identity()
            if readout is None
            else nn.Sequential(nn.Conv2d(in_spec.channels[index], readout, 1), nn.GELU())
            for index in self.used
        )
        self.reassemble = nn.ModuleList(
            _reassemble(readout_channels, level, width, in_spec.strides[index], stride)
            for readout_channels, level, index, stride in zip(
                in_channels, level_channels or in_channels, self.used, self.strides, strict=True
            )
        )
        self.fusions = nn.ModuleList(Fusion(width) for _ in self.used)  # coarsest first
        self.stride = self.strides[0] // 2 if self.strides[0] % 2 == 0 else self.strides[0]
        self.head = ConvNormAct(width, width)
        self.finish(width, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """All levels, fused at half of the finest level's stride."""
        levels = [
            reassemble(readout(features.maps[index]))
            for index, readout, reassemble in zip(self.used, self.readouts, self.reassemble, strict=True)
        ]
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        factor = self.strides[0] // self.stride
        sizes.insert(0, (sizes[0][0] * factor, sizes[0][1] * factor))
        strides = [self.stride, *self.strides]
        fused: Tensor | None = None
        for number, fusion in zip(range(len(levels) - 1, -1, -1), self.fusions, strict=True):
            assert isinstance(fusion, Fusion)
            merged = fusion(levels[number], fused)
            ratio = strides[number + 1] // strides[number]
            fused = fusion.project(fit_to(merged, sizes[number], ratio, self.fit))
        assert fused is not None
        maps: Tensor = self.head(fused)
        return maps


class Fusion(nn.Module):
    """Adds a level to the fused coarser ones, with a residual block before and after the sum.

    Args:
        width: input and output channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = ResidualBlock(width), ResidualBlock(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor, coarser: Tensor | None) -> Tensor:
        """(N, width, h, w) in and out."""
        maps = self.before(level)
        merged: Tensor = self.after(maps if coarser is None else maps + coarser)
        return merged


class ResidualBlock(nn.Module):
    """Two times ReLU, 3x3 convolution and BatchNorm, with a residual connection.

    He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv 1603.05027.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(),
            ConvNormAct(width, width, activation=False),
            nn.ReLU(),
            ConvNormAct(width, width, activation=False),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, width, h, w) in and out."""
        out: Tensor = maps + self.body(maps)
        return out


def _pyramid(in_spec: FeatureSpec) -> tuple[list[int], list[int]]:
    """Indices of the levels that are read, finest first, and the stride to which each is resized."""
    strides = in_spec.strides
    if len(set(strides)) > 1:
        last = {stride: index for index, stride in enumerate(strides) if stride >= 4 or stride == strides[-1]}
        kept = list(last.values())
        for fine, coarse in itertools.pairwise(kept):
            in_spec.ratio(coarse, fine)
        return kept, list(last)
    if len(strides) == 1:
        return [0], [strides[0]]
    first = strides[0] / 4
    if first != int(first):
        raise IncompatiblePartsError(
            f"a stride that is a multiple of 4 (here {strides[0]})", "Add neck 'simple_pyramid'."
        )
    return list(range(len(strides))), [int(first * 2**number) for number in range(len(strides))]


def _reassemble(channels: int, width: int, out: int, stride: int, target: int) -> nn.Sequential:
    """From a level's channels and stride to the channels of the fusion at the target stride."""
    change: nn.Module = nn.Identity()
    if stride > target:
        change = nn.ConvTranspose2d(width, width, stride // target, stride // target)
    elif stride < target:
        change = nn.Conv2d(width, width, 3, target // stride, 1)
    return nn.Sequential(nn.Conv2d(channels, width, 1), change, nn.Conv2d(width, out, 3, padding=1, bias=False))
