"""The upsampling decoder."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import upsample
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class UpBlock(nn.Module):
    """Doubles the size by transposed convolution or interpolation, followed by convolution, normalization and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, mode: Literal["interpolate", "transpose"]) -> None:
        super().__init__()
        self.transpose = nn.ConvTranspose2d(in_channels, out_channels, 2, 2) if mode == "transpose" else None
        self.block = ConvNormAct(out_channels if mode == "transpose" else in_channels, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, in_channels, h, w) to (N, out_channels, 2h, 2w)."""
        doubled: Tensor = self.block(upsample(maps, 2) if self.transpose is None else self.transpose(maps))
        return doubled


class Upsample(SegmentDecoder):
    """Upsampling decoder: doubles the resolution of the deepest level step by step, each step with convolution and ReLU.

    Noh et al. use transposed convolutions; interpolation followed by convolution avoids checkerboard artifacts (Odena et al.,
    Deconvolution and Checkerboard Artifacts, Distill 2016).

    Args:
        mode: "interpolate" or "transpose".
        channels: channels of the decoder; None: derived from the backbone.
        to_stride: stride of the logits, which are then interpolated to the canvas.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
    """

    paper: ClassVar[str] = (
        "Noh et al., Learning Deconvolution Network for Semantic Segmentation, ICCV 2015, arXiv 1505.04366"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        mode: Literal["interpolate", "transpose"] = "interpolate",
        channels: int | None = None,
        to_stride: int = 4,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
    ) -> None:
        super().__init__(in_spec, labels, loss=loss)
        check_range("decoder 'upsample'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'upsample'", minimum=1, channels=channels, to_stride=to_stride)
        deepest = in_spec.levels[-1]
        width = channels or default_channels(in_spec)
        self.in_levels = (len(in_spec.levels) - 1,)
        self.stride = deepest.stride
        body: list[nn.Module] = [ConvNormAct(deepest.channels, width)]
        while self.stride % 2 == 0 and self.stride // 2 >= to_stride:
            body.append(UpBlock(width, width, mode))
            self.stride //= 2
        self.body = nn.Sequential(*body)
        self.finish(width, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The deepest level, upsampled."""
        maps: Tensor = self.body(features.maps[-1])
        return maps
