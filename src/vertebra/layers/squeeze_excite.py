"""Squeeze and excitation: weights the channels of a map by its mean, and each cell by its features."""

from __future__ import annotations

from torch import Tensor, nn

from vertebra.features import Frame
from vertebra.layers.padding import valid_mean


class ConcurrentSqueezeExcite(nn.Module):
    """A map weighted channel by channel, by its mean over the image, plus the map weighted cell by cell.

    Roy et al., Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks, MICCAI 2018, arXiv
    1803.02579 (the two added, as in segmentation-models-pytorch). The canvas' padding is left out of the mean.

    Args:
        reduction: the channels are divided by this between the two layers of the channel weights.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.channels = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.ReLU(inplace=True), nn.Conv2d(inner, channels, 1), nn.Sigmoid()
        )
        self.cells = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, maps: Tensor, stride: int, frame: Frame) -> Tensor:
        """(N, channels, h, w) in and out.

        Args:
            stride: of the map.
        """
        mean = valid_mean(maps.float(), stride, frame)[:, :, None, None].to(maps.dtype)
        weighted: Tensor = maps * self.channels(mean) + maps * self.cells(maps)
        return weighted
