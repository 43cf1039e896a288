"""The U-Net decoder."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.decoders.segment._unet_blocks import DecoderBlock, block_channels, levels_to_join, strides_beyond
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import Norm
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Mode
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class UNet(SegmentDecoder):
    """U-Net decoder: upsamples level by level and concatenates each finer level as a skip connection.

    Args:
        channels: channels at each finer level, deepest first; None: derived from the backbone and halved at each level, at
            least 32.
        to_stride: stride of the logits: finer levels are left out, and upsampling continues beyond the finest level if needed;
            None: that of the finest level.
        interpolation: how a coarse map is upsampled.
        norm: normalization after each convolution.
        attention: "scse" weights channels and cells in each block (concurrent squeeze and excitation).
        kernel_size: of the classifier.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
    """

    paper: ClassVar[str] = (
        "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015, "
        "arXiv 1505.04597 (differences: padded convolutions, interpolation instead of transposed convolution); scse: Roy "
        "et al., Concurrent Spatial and Channel Squeeze & Excitation, MICCAI 2018, arXiv 1803.02579"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: list[int] | None = None,
        to_stride: int | None = None,
        interpolation: Mode = "bilinear",
        norm: Norm = "batch",
        attention: Literal["scse"] | None = None,
        kernel_size: Literal[1, 3] = 1,
        dropout: float = 0.0,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
    ) -> None:
        super().__init__(in_spec, labels, loss=loss)
        check_range("decoder 'unet'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'unet'", minimum=1, channels=min(channels or [1]), to_stride=to_stride)
        self.used = levels_to_join(in_spec, to_stride)
        self.in_levels = tuple(self.used)
        finest = in_spec.strides[self.used[0]]
        beyond = strides_beyond("unet", finest, to_stride)
        finer = list(reversed(self.used[:-1]))
        widths = block_channels("unet", channels, len(finer), len(beyond), 2 * default_channels(in_spec))
        coarse = self.used[-1]
        in_channels, stride = in_spec.channels[coarse], in_spec.strides[coarse]
        self.blocks = nn.ModuleList()
        for number, width in enumerate(widths):
            level = finer[number] if number < len(finer) else None
            skip = 0 if level is None else in_spec.channels[level]
            ratio = 2 if level is None else in_spec.ratio(coarse, level)
            coarse, stride = coarse if level is None else level, stride // ratio
            options: Any = {"interpolation": interpolation, "norm": norm, "attention": attention}
            self.blocks.append(DecoderBlock(in_channels, skip, width, stride, ratio, **options))
            in_channels = width
        self.stride = stride
        self.finish(in_channels, dropout, kernel_size)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The output of the last block."""
        maps = features.maps[self.used[-1]]
        finer = [features.maps[index] for index in reversed(self.used[:-1])]
        for number, block in enumerate(self.blocks):
            maps = block(maps, finer[number : number + 1], features.frame)
        return maps
