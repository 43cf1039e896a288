"""MobileNetV3 as torchvision has it, for weights of its detectors and segmenters, which timm's cannot hold."""

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
    """torchvision's MobileNetV3, large or small: the body of its SSDLite, LR-ASPP, DeepLabV3 and Faster R-CNN models.

    It differs from timm's in what those need: dilation from the first of the last blocks on, a tail of half the width,
    and levels inside a block.

    Args:
        name: "torchvision_mobilenet_v3_large" or "torchvision_mobilenet_v3_small".
        pretrained: true takes torchvision's ImageNet weights; a file's path takes local ones in torchvision's key names;
            false starts from random weights.
        in_channels: channels of the images; 3 with pretrained weights.
        freeze: the first this many blocks, or "all", do not learn; their BatchNorm statistics stay too.
        frozen_norm: BatchNorm layers stay as they are, statistics and all, while the rest learns.
        norm_eps: eps of all BatchNorm layers; None: torchvision's own 1e-3.
        dilated: the last blocks dilate instead of halving the map again, so that the coarsest stride is 16.
        reduced_tail: half as many channels from the last blocks on.
        out_indices: which maps: the number of a block, the first convolution being 0; or as text, "13.expansion", the expanding
            layer inside a block. None: the last block at each stride from 2 on.
        mean, std: what is taken off images in 0..1 and what they are divided by, a number a channel; None: ImageNet's.
        size_multiple: what the canvas is padded to a multiple of.
        image_size: not used; its maps are exact at any size.

    Raises:
        ConfigError: an option is out of range.
        WeightsError: the weights cannot be had.
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
        self.order = sorted(range(len(levels)), key=lambda place: levels[place].stride)
        self.out_spec = FeatureSpec(tuple(levels[place] for place in self.order), width)
        self.size_multiple = size_multiple
        self.keep_normalization(mean or (0.485, 0.456, 0.406), std or (0.229, 0.224, 0.225))

    def _expansion(self, block: int) -> Level:
        """What the expanding layer of a block gives: more channels, at the stride of the block before it."""
        features: Any = self.body.features
        last = len(features) - 1
        layers = getattr(features[block], "block", None) if 0 < block < last else None
        if layers is None or layers[0][0].kernel_size != (1, 1):
            raise ConfigError(f"block {block} of backbone '{self.name}' has no expanding layer; take 2 to {last - 1}")
        return Level(layers[0].out_channels, self.stages[block - 1].stride)

    def run(self, images: Tensor) -> list[Tensor]:
        """The asked-for maps, and the embedding after them if it is asked for."""
        body: Any = self.body
        last = len(body.features) - 1 if self.compute_embedding else max([*self.out_indices, *self.inside])
        maps, deepest = self._walk(images, last)
        found = [maps[place] for place in self.order] if self.compute_maps else []
        if self.compute_embedding:
            found.append(body.classifier(body.avgpool(deepest).flatten(1)))
        return found

    def _walk(self, images: Tensor, last: int) -> tuple[list[Tensor], Tensor]:
        """The tapped maps, those of blocks before those inside of blocks, and the last block's."""
        body: Any = self.body
        after: dict[int, Tensor] = {}
        within: dict[int, Tensor] = {}
        maps = images
        for number in range(last + 1):
            block = body.features[number]
            if number in self.inside:
                within[number] = block.block[0](maps)
                if number == last and number not in self.out_indices and not self.compute_embedding:
                    break  # nothing reads the block's end
                maps = self._finish(block, maps, within[number])
            else:
                maps = block(maps)
            after[number] = maps
        return [*(after[index] for index in self.out_indices), *(within[block] for block in self.inside)], maps

    @staticmethod
    def _finish(block: Any, maps: Tensor, expanded: Tensor) -> Tensor:
        """What a block gives for ``maps``, from what its expanding layer gave."""
        out: Tensor = block.block[1:](expanded)
        return out + maps if block.use_res_connect else out

    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of one block."""
        body: Any = self.body
        return [body.features[: last + 1](images)]


def _split(out_indices: list[int | str] | None) -> tuple[list[int], list[int] | None]:
    """The blocks that are read inside, and those that are read after."""
    inside: list[int] = []
    blocks: list[int] = []
    for index in out_indices or []:
        if isinstance(index, int):
            blocks.append(index)
            continue
        number, _, place = index.partition(".")
        if place != "expansion" or not number.isdigit():
            raise ConfigError(f"a tap is the number of a block, or text such as '13.expansion'; got '{index}'")
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
    """The weights that torchvision publishes for a builder, see `download`."""
    return download(torchvision.models.get_model_weights(build).DEFAULT, name)


def download(weights: Any, name: str) -> Any:
    """A state dict of torchvision's.

    Args:
        weights: an entry of torchvision's enumerations of weights.
        name: of the backbone, for the message.

    Raises:
        WeightsError: it cannot be had.
    """
    try:
        with from_url():
            return weights.get_state_dict(progress=True)
    except Exception as error:  # whatever the download raises, the way out is the same
        raise unavailable(name, error) from error
