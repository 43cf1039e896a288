"""VGG-16 as SSD has it: its first two fully connected layers made into convolutions."""

from __future__ import annotations

from typing import Any, Literal

import torchvision
from torch import Tensor, nn

from vertebra.backbones.base import StagedBackbone, choose_out_indices
from vertebra.backbones.torchvision_mobilenet import download
from vertebra.features import FeatureSpec, Level
from vertebra.layers.init import init_conv_

BLOCKS = (4, 9, 16, 23, 30, 35)
"""Where in ``features`` each block ends: conv1_2, conv2_2, conv3_3, conv4_3, conv5_3 and fc7."""
WIDTH = 1024


class SSDVGG16(StagedBackbone):
    """VGG-16 without its classifier, whose layers fc6 and fc7 are convolutions: the body of SSD.

    The last pooling keeps the size and fc6 dilates, so that the deepest map has stride 16. Pooling rounds up, so that no cell is
    lost. For VGG as a classifier, or under other decoders, take timm's ``vgg16``.

    Args:
        name: "ssd_vgg16".
        pretrained: true takes torchvision's ImageNet weights for this body (fc6 and fc7 start from random ones); a file's path
            takes local ones in torchvision's key names; false starts from random weights.
        in_channels: channels of the images; 3 with pretrained weights.
        freeze: the first this many blocks, or "all", do not learn.
        out_indices: which maps: 0 to 4 are the blocks, each as it is before its pooling, and 5 is fc7. None: all at stride 2 or
            more but the last block, which has fc7's stride.
        mean, std: what is taken off images in 0..1 and what they are divided by, a number a channel; None: what the pretrained
            weights were trained with, a mean of about 0.45 and 1/255.
        size_multiple: what the canvas is padded to a multiple of.
        image_size: not used; its maps are exact at any size.

    Raises:
        ConfigError: an option is out of range.
        WeightsError: the weights cannot be had.
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
        """The asked-for maps, and the embedding (the mean of fc7) after them if it is asked for."""
        body: Any = self.body
        found: list[Tensor] = []
        maps, start = images, 0
        for number in range(len(BLOCKS) if self.compute_embedding else max(self.out_indices) + 1):
            maps = body.features[start : BLOCKS[number]](maps)
            start = BLOCKS[number]
            if self.compute_maps and number in self.out_indices:
                found.append(maps)
        if self.compute_embedding:
            found.append(maps.mean(dim=(2, 3)))
        return found

    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of one block."""
        body: Any = self.body
        return [body.features[: BLOCKS[last]](images)]


def _body(in_channels: int) -> Any:
    """A module whose ``features`` are torchvision's, then the last pooling, fc6 and fc7; none of it works in place, so that
    maps stay as they were tapped."""
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
