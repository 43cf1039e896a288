"""torchvision's MobileNetV3, for weights of its detection and segmentation models, which do not fit timm's."""

from __future__ import annotations

from typing import Any, Literal

import torchvision
from torch import Tensor, nn

from vertebra.backbones.base import StagedBackbone, choose_out_indices
from vertebra.backbones.hub import from_url, unavailable
from vertebra.errors import ConfigError
from vertebra.features import FeatureSpec, Level

PREFIX = "torchvision_"


class TorchvisionMobileNetV3(StagedBackbone):
    """torchvision's MobileNetV3, large or small: the backbone of its SSDLite, LR-ASPP, DeepLabV3 and Faster R-CNN models.

    Unlike timm's, it supports what those models need: dilation from the first of the last blocks on, a tail with half of the
    channels, and feature maps from inside a block.

    Args:
        name: "torchvision_mobilenet_v3_large" or "torchvision_mobilenet_v3_small".
        pretrained: true for torchvision's ImageNet weights; a path for a local file with torchvision's parameter names; false
            for random weights.
        in_channels: channels of the images; 3 with pretrained weights.
        freeze: how many of the first blocks are frozen, with their BatchNorm statistics, or "all".
        frozen_norm: freezes all BatchNorm layers, with their statistics.
        norm_eps: eps of all BatchNorm layers; None: torchvision's own 1e-3.
        dilated: dilates the last blocks, so that the coarsest stride is 16.
        reduced_tail: half of the channels in the last blocks.
        out_indices: indices of blocks, where 0 is the first convolution; or a text such as "13.expansion" for the expansion layer
            inside a block. None: the last block at each stride from 2 on.
        mean, std: normalization of images in 0..1, one number for each channel; None: ImageNet's.
        size_multiple: the canvas is padded to a multiple of this number.
        image_size: ignored; the maps are aligned at any size.

    Raises:
        ConfigError: an option is out of range.
        WeightsError: the weights cannot be downloaded or read.
    """

    paper = "Howard et al., Searching for MobileNetV3, ICCV 2019, arXiv 1905.02244"

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool | str = False,
        in_channels: int = 3,
        freeze: int | Literal["all"] = 0,
        frozen_norm: bool = False,
        norm_eps: float | None = None,
        dilated: bool = False,
        reduced_tail: bool = False,
        out_indices: list[int | str] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        size_multiple: int = 1,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(name, in_channels=in_channels, freeze=freeze, frozen_norm=frozen_norm)
        build = getattr(torchvision.models, name.removeprefix(PREFIX))
        body: Any = build(weights=None, dilated=dilated, reduced_tail=reduced_tail)
        if in_channels != 3:
            body.features[0][0] = nn.Conv2d(in_channels, body.features[0][0].out_channels, 3, 2, 1, bias=False)
        width = body.classifier[0].out_features
        body.classifier = body.classifier[:2]
        self.body = body
        self.load_weights(pretrained, lambda: published(build, name))
        self.set_norm_eps(norm_eps)
        self.stages = stages_of(self.body.features)
        self.inside, blocks = _split(out_indices)
        self.out_indices = choose_out_indices(self.stages, blocks, name) if blocks or not self.inside else []
        levels = [self.stages[index] for index in self.out_indices] + [self._expansion(block) for block in self.inside]
        self.order = sorted(range(len(levels)), key=lambda index: levels[index].stride)
        self.out_spec = FeatureSpec(tuple(levels[index] for index in self.order), width)
        self.size_multiple = size_multiple
        self.keep_normalization(mean or (0.485, 0.456, 0.406), std or (0.229, 0.224, 0.225))

    def _expansion(self, block: int) -> Level:
        """The output of a block's expansion layer: more channels, at the stride of the previous block."""
        features: Any = self.body.features
        last = len(features) - 1
        layers = getattr(features[block], "block", None) if 0 < block < last else None
        if layers is None or layers[0][0].kernel_size != (1, 1):
            raise ConfigError(f"block {block} of backbone '{self.name}' has no expansion layer; use 2 to {last - 1}")
        return Level(layers[0].out_channels, self.stages[block - 1].stride)

    def run(self, images: Tensor) -> list[Tensor]:
        """The required maps, and the embedding after them if it is required."""
        body: Any = self.body
        last = len(body.features) - 1 if self.compute_embedding else max([*self.out_indices, *self.inside])
        maps, deepest = self._walk(images, last)
        outputs = [maps[index] for index in self.order] if self.compute_maps else []
        if self.compute_embedding:
            outputs.append(body.classifier(body.avgpool(deepest).flatten(1)))
        return outputs

    def _walk(self, images: Tensor, last: int) -> tuple[list[Tensor], Tensor]:
        """The requested maps, those of whole blocks first and those of expansion layers after them, and the last block's."""
        body: Any = self.body
        block_maps: dict[int, Tensor] = {}
        expansions: dict[int, Tensor] = {}
        maps = images
        for number in range(last + 1):
            block = body.features[number]
            if number in self.inside:
                expansions[number] = block.block[0](maps)
                if number == last and number not in self.out_indices and not self.compute_embedding:
                    break  # nothing reads the block's end
                maps = self._finish(block, maps, expansions[number])
            else:
                maps = block(maps)
            block_maps[number] = maps
        return [*(block_maps[index] for index in self.out_indices), *(expansions[block] for block in self.inside)], maps

    @staticmethod
    def _finish(block: Any, maps: Tensor, expanded: Tensor) -> Tensor:
        """The output of a block for ``maps``, given the output of its expansion layer."""
        out: Tensor = block.block[1:](expanded)
        return out + maps if block.use_res_connect else out

    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of one block."""
        body: Any = self.body
        return [body.features[: last + 1](images)]


def _split(out_indices: list[int | str] | None) -> tuple[list[int], list[int] | None]:
    """The blocks whose expansion layer is read, and those whose output is read."""
    inside: list[int] = []
    blocks: list[int] = []
    for index in out_indices or []:
        if isinstance(index, int):
            blocks.append(index)
            continue
        number, _, layer = index.partition(".")
        if layer != "expansion" or not number.isdigit():
            raise ConfigError(f"out_indices are numbers of blocks, or texts such as '13.expansion'; got '{index}'")
        inside.append(int(number))
    return inside, blocks or None


def stages_of(features: Any) -> list[Level]:
    """Channels and stride after each block."""
    stages = []
    stride = 1
    for block in features:
        strides = [layer.stride[0] for layer in block.modules() if isinstance(layer, nn.Conv2d)]
        stride *= max(strides)
        channels = next(layer.out_channels for layer in reversed(list(block.modules())) if isinstance(layer, nn.Conv2d))
        stages.append(Level(channels, stride))
    return stages


def published(build: Any, name: str) -> Any:
    """torchvision's published weights for a builder, see `download`."""
    return download(torchvision.models.get_model_weights(build).DEFAULT, name)


def download(weights: Any, name: str) -> Any:
    """Downloads a state dict of torchvision.

    Args:
        weights: a member of one of torchvision's weights enumerations.
        name: name of the backbone, for the message.

    Raises:
        WeightsError: the download failed.
    """
    try:
        with from_url():
            return weights.get_state_dict(progress=True)
    except Exception as error:  # downloads raise many kinds of errors
        raise unavailable(name, error) from error
