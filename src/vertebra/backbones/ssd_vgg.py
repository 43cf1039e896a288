"""The VGG-16 of SSD, with its first two fully connected layers as convolutions."""

from __future__ import annotations

from typing import Any, Literal

import torchvision
from torch import Tensor, nn

from vertebra.backbones.base import StagedBackbone, choose_out_indices
from vertebra.backbones.torchvision_mobilenet import download
from vertebra.features import FeatureSpec, Level
from vertebra.layers.init import init_conv_

BLOCKS = (4, 9, 16, 23, 30, 35)
"""The end of each block in ``features``: conv1_2, conv2_2, conv3_3, conv4_3, conv5_3 and fc7."""
WIDTH = 1024


class SSDVGG16(StagedBackbone):
    """VGG-16 of SSD: no classifier, and layers fc6 and fc7 as convolutions.

    The last pooling keeps the size and fc6 is dilated, so that the deepest map has stride 16. Pooling rounds sizes up, so that
    no pixel is lost. To classify, or for other decoders, use timm's ``vgg16``.

    Args:
        name: "ssd_vgg16".
        pretrained: true for torchvision's ImageNet weights of this body (fc6 and fc7 are random); a path for a local file with
            torchvision's parameter names; false for random weights.
        in_channels: channels of the images; 3 with pretrained weights.
        freeze: how many of the first blocks are frozen, or "all".
        out_indices: indices of the maps: 0 to 4 are the blocks, each before its pooling, and 5 is fc7. None: all at stride 2 or
            more, except the last block, which has the stride of fc7.
        mean, std: normalization of images in 0..1, one number for each channel; None: that of the pretrained
            weights, a mean of about 0.45 and 1/255.
        size_multiple: the canvas is padded to a multiple of this number.
        image_size: ignored; the maps are aligned at any size.

    Raises:
        ConfigError: an option is out of range.
        WeightsError: the weights cannot be downloaded or read.
    """

    paper = (
        "Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, arXiv 1409.1556; fc6 and fc7 as in Liu et al., SSD, "
        "ECCV 2016, arXiv 1512.02325"
    )

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool | str = False,
        in_channels: int = 3,
        freeze: int | Literal["all"] = 0,
        out_indices: list[int] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        size_multiple: int = 1,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(name, in_channels=in_channels, freeze=freeze, frozen_norm=False)
        self.body = _body(in_channels)
        self.load_weights(pretrained, lambda: download(torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES, name))
        widths, strides = (64, 128, 256, 512, 512, WIDTH), (1, 2, 4, 8, 16, 16)
        self.stages = [Level(width, stride) for width, stride in zip(widths, strides, strict=True)]
        self.out_indices = choose_out_indices(self.stages, out_indices, name)
        self.out_spec = FeatureSpec(tuple(self.stages[index] for index in self.out_indices), WIDTH)
        self.size_multiple = size_multiple
        self.keep_normalization(mean or (0.48235, 0.45882, 0.40784), std or (1 / 255, 1 / 255, 1 / 255))

    def run(self, images: Tensor) -> list[Tensor]:
        """The required maps, and the embedding (the mean of fc7) after them if it is required."""
        body: Any = self.body
        outputs: list[Tensor] = []
        maps, start = images, 0
        for number in range(len(BLOCKS) if self.compute_embedding else max(self.out_indices) + 1):
            maps = body.features[start : BLOCKS[number]](maps)
            start = BLOCKS[number]
            if self.compute_maps and number in self.out_indices:
                outputs.append(maps)
        if self.compute_embedding:
            outputs.append(maps.mean(dim=(2, 3)))
        return outputs

    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of one block."""
        body: Any = self.body
        return [body.features[: BLOCKS[last]](images)]


def _body(in_channels: int) -> Any:
    """A module whose ``features`` are torchvision's layers, then the last pooling, fc6 and fc7; no layer works in place, which
    would change the returned maps."""
    body: Any = nn.Module()
    layers: list[nn.Module] = []
    for layer in torchvision.models.vgg16(weights=None).features[:-1]:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
        layers.append(nn.ReLU() if isinstance(layer, nn.ReLU) else layer)
    if in_channels != 3:
        layers[0] = nn.Conv2d(in_channels, 64, 3, padding=1)
    sixth, seventh = nn.Conv2d(512, WIDTH, 3, padding=6, dilation=6), nn.Conv2d(WIDTH, WIDTH, 1)
    init_conv_(sixth, rectified=True)
    init_conv_(seventh, rectified=True)
    body.features = nn.Sequential(*layers, nn.MaxPool2d(3, 1, 1), sixth, nn.ReLU(), seventh, nn.ReLU())
    return body
