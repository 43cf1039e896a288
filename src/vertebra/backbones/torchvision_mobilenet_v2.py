"""torchvision's MobileNetV2, for weights of models that read its last map, which timm's does not return."""

from __future__ import annotations

from typing import Any, Literal

import torchvision
from torch import Tensor, nn

from vertebra.backbones.base import StagedBackbone, choose_out_indices
from vertebra.backbones.torchvision_mobilenet import PREFIX, published, stages_of
from vertebra.features import FeatureSpec

HALVING = (2, 4, 7, 14)
"""The blocks at which torchvision halves the map, to strides 4, 8, 16 and 32."""


class TorchvisionMobileNetV2(StagedBackbone):
    """torchvision's MobileNetV2, with the convolution to 1280 channels as its deepest map: the encoder ``mobilenet_v2`` of
    segmentation-models-pytorch. For anything else, use timm's ``mobilenetv2_100``.

    Args:
        name: "torchvision_mobilenet_v2".
        pretrained: true for torchvision's ImageNet weights; a path for a local file with torchvision's parameter names; false
            for random weights.
        in_channels: channels of the images; 3 with pretrained weights.
        freeze: how many of the first blocks are frozen, with their BatchNorm statistics, or "all".
        frozen_norm: freezes all BatchNorm layers, with their statistics.
        norm_eps: eps of all BatchNorm layers; None: torchvision's own 1e-5.
        output_stride: 8 or 16: dilates all later convolutions instead of striding, as in segmentation-models-pytorch.
        out_indices: indices of blocks, where 0 is the first convolution. None: the last block at each stride from 2 on.
        mean, std: normalization of images in 0..1, one number for each channel; None: ImageNet's.
        size_multiple: the canvas is padded to a multiple of this number.
        image_size: ignored; the maps are aligned at any size.

    Raises:
        ConfigError: an option is out of range.
        WeightsError: the weights cannot be downloaded or read.
    """

    paper = "Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, arXiv 1801.04381"

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool | str = False,
        in_channels: int = 3,
        freeze: int | Literal["all"] = 0,
        frozen_norm: bool = False,
        norm_eps: float | None = None,
        output_stride: Literal[8, 16] | None = None,
        out_indices: list[int] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        size_multiple: int = 1,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(name, in_channels=in_channels, freeze=freeze, frozen_norm=frozen_norm)
        build = getattr(torchvision.models, name.removeprefix(PREFIX))
        body: Any = build(weights=None)
        if in_channels != 3:
            body.features[0][0] = nn.Conv2d(in_channels, body.features[0][0].out_channels, 3, 2, 1, bias=False)
        del body.classifier
        self.body = body
        self.load_weights(pretrained, lambda: published(build, name))
        self.set_norm_eps(norm_eps)
        if output_stride is not None:
            _dilate(body.features, output_stride)
        self.stages = stages_of(body.features)
        self.out_indices = choose_out_indices(self.stages, out_indices, name)
        self.out_spec = FeatureSpec(tuple(self.stages[index] for index in self.out_indices), self.stages[-1].channels)
        self.size_multiple = size_multiple
        self.keep_normalization(mean or (0.485, 0.456, 0.406), std or (0.229, 0.224, 0.225))

    def run(self, images: Tensor) -> list[Tensor]:
        """The required maps, and the embedding after them if it is required."""
        features: Any = self.body.features
        last = len(features) - 1 if self.compute_embedding else max(self.out_indices)
        outputs = []
        maps = images
        for number in range(last + 1):
            maps = features[number](maps)
            if self.compute_maps and number in self.out_indices:
                outputs.append(maps)
        if self.compute_embedding:
            outputs.append(maps.mean(dim=(2, 3)))
        return outputs

    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of one block."""
        features: Any = self.body.features
        return [features[: last + 1](images)]


def _dilate(features: Any, output_stride: int) -> None:
    """Replaces the strides after ``output_stride`` by dilation."""
    strides = {4 * 2**number: block for number, block in enumerate(HALVING)}
    for stride, first in strides.items():
        if stride <= output_stride:
            continue
        rate = stride // output_stride
        for block in features[first : strides.get(2 * stride)]:
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d):
                    conv.stride, conv.dilation = (1, 1), (rate, rate)
                    conv.padding = (rate * (conv.kernel_size[0] // 2),) * 2
