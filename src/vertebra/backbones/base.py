"""The contract of a backbone, and a base class with normalization, padding, freezing and required outputs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.backbones.used_parameters import used_parameters
from vertebra.checkpoints import load_file, load_matching
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.layers.normalize import normalize
from vertebra.layers.option_range import check_range

TORCHVISION_LICENSE = "BSD-3-Clause (torchvision)"
MAX_CHANNELS = 4096  # of images
MIN_EPS = 1e-37  # too small to change a variance
Norms = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


class Backbone(nn.Module, ABC):
    """The interface of a backbone. `vertebra.as_backbone` wraps any other module.

    Attributes:
        name: name of the architecture.
        out_spec: the levels and the embedding that `forward` returns.
        in_channels: channels of the images.
        size_multiple: the canvas is padded to a multiple of this number.
        fixed_size: the only canvas (height, width) that the backbone accepts, or None.
        refusal: why it returns no maps, or None.
        pretrained: whether its weights are pretrained.
        origin: where its weights came from, as text.
        weights_from: the origin as stored in a model file: ``source`` and ``license`` of published weights, or the file name
            as ``weights``; empty for random weights.
    """

    name: str
    out_spec: FeatureSpec
    in_channels: int
    size_multiple: int = 1
    fixed_size: tuple[int, int] | None = None
    refusal: str | None = None
    pretrained: bool = False
    origin: str = ""
    weights_from: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Features:
        """Features of a batch of canvases.

        Args:
            images: (N, C, H, W), uint8 or float in 0..255.
            sizes: (N, 2) int64, the (height, width) of each image on its canvas; None if the images fill their canvases.
        """

    def with_required_outputs(self, *, embedding: bool, maps: bool) -> Backbone:
        """This backbone with only the outputs that one model reads; by default itself, with all of its outputs.

        Args:
            embedding: whether the model reads the embedding.
            maps: whether it reads the feature maps.
        """
        return self

    def unused_parameters(self) -> set[str]:
        """Names of the parameters on which no required output depends; none by default."""
        return set()


class StagedBackbone(Backbone):
    """A backbone with several stages: returns feature maps at several strides and an embedding from one forward pass.

    A subclass sets ``body``, ``stages``, ``out_indices``, ``out_spec``, ``size_multiple`` and ``fixed_size``, calls
    `keep_normalization`, and runs the body in `run` and `run_stages`.

    Attributes:
        freeze: how many of the first stages are frozen, or "all".
        frozen_norm: whether all BatchNorm layers are frozen.
        stages: all maps that the body can return; ``out_indices`` are the indices of those that it returns.
    """

    mean: Tensor
    std: Tensor
    body: nn.Module
    stages: list[Level]
    out_indices: list[int]

    def __init__(self, name: str, *, in_channels: int, freeze: int | Literal["all"], frozen_norm: bool) -> None:
        super().__init__()
        check_range(f"backbone '{name}'", minimum=1, maximum=MAX_CHANNELS, in_channels=in_channels)
        self.name, self.in_channels, self.freeze, self.frozen_norm = name, in_channels, freeze, frozen_norm
        self.compute_embedding, self.compute_maps = True, True
        self._frozen_norms: list[nn.Module] = []
        # parameters of the body that any model needs, and those frozen since none does; one set for all models on this body
        self._required: set[str] = set()
        self._frozen_unused: set[str] = set()

    def keep_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Stores the normalization of images in 0..1; the numbers are repeated over the channels."""
        for key, numbers in (("mean", mean), ("std", std)):
            if not numbers or (key == "std" and min(numbers) <= 0):
                raise ConfigError(f"backbone '{self.name}': '{key}' must be numbers, for std above 0, got {numbers}")
            values = [numbers[channel % len(numbers)] for channel in range(self.in_channels)]
            self.register_buffer(key, 255.0 * torch.tensor(values).reshape(1, -1, 1, 1), persistent=False)

    def load_weights(self, pretrained: bool | str, published: Callable[[], Mapping[str, Tensor]]) -> None:
        """Loads the weights of the body, with the body's parameter names, and stores their origin.

        Args:
            pretrained: true, false, or the path of a file.
            published: downloads the published weights.

        Raises:
            ConfigError: the published weights are for 3 channels.
            WeightsError: the weights cannot be downloaded or read, or are not those of this body.
        """
        self.pretrained = pretrained is not False
        report = None
        if self.pretrained:
            if pretrained is True and self.in_channels != 3:
                raise ConfigError(
                    f"backbone '{self.name}': its published weights are for 3 channels, got {self.in_channels}"
                )
            if isinstance(pretrained, str):
                report = load_file(self.body, pretrained)
            else:
                report = load_matching(self.body, published(), source=f"the published weights of '{self.name}'")
        self.origin = describe_origin(self.name, pretrained, report)
        published_by = {
            "source": f"torchvision:{self.name.removeprefix('torchvision_')}",
            "license": TORCHVISION_LICENSE,
        }
        self.weights_from = weights_from(pretrained, published_by)

    def set_norm_eps(self, eps: float | None) -> None:
        """Sets the eps of all BatchNorm and LayerNorm layers of the body, unless it is None.

        0 becomes `MIN_EPS`: torch refuses 0 in training, and before 2.14 always.
        """
        if eps is None:
            return
        for layer in self.body.modules():
            if isinstance(layer, Norms):
                layer.eps = max(eps, MIN_EPS)

    @abstractmethod
    def run(self, images: Tensor) -> list[Tensor]:
        """The required maps of normalized images, and the embedding after them if it is required."""

    @abstractmethod
    def run_stages(self, images: Tensor, last: int) -> list[Tensor]:
        """The map of stage ``last``, and possibly other tensors that depend only on the stages up to it."""

    def with_required_outputs(self, *, embedding: bool, maps: bool) -> StagedBackbone:
        """This backbone with only the outputs that one model reads.

        Modules and weights are shared, so that several models can be built on one backbone, each with its own outputs.
        Parameters that none of these models needs are frozen; they become trainable when a model that needs them is built.
        Parameters that were frozen before stay frozen.

        Args:
            embedding: whether the model reads the embedding.
            maps: whether it reads the feature maps.

        Raises:
            ConfigError: ``freeze`` exceeds the number of stages.
        """
        backbone = copy.copy(self)
        backbone.compute_embedding, backbone.compute_maps = embedding, maps and bool(self.out_spec.levels)
        frozen = self._frozen_parameters()
        backbone._set_trainable(frozen)
        backbone._frozen_norms = [
            layer
            for prefix, layer in self.body.named_modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm)
            and (self.freeze == "all" or self.frozen_norm or f"{prefix}.weight" in frozen)
        ]
        backbone.train(self.training)
        return backbone

    def _set_trainable(self, frozen: set[str]) -> None:
        """Freezes ``frozen`` and what no model needs; of the latter, what this model needs becomes trainable again.

        Parameters that a user has frozen stay frozen.
        """
        used = used_parameters(self.body, self.run, self._probe_images())
        self._required |= used
        for name, parameter in self.body.named_parameters():
            if name not in self._required and parameter.requires_grad:
                self._frozen_unused.add(name)
            if name in frozen or name not in self._required:
                parameter.requires_grad_(False)
            elif name in self._frozen_unused:
                self._frozen_unused.remove(name)
                parameter.requires_grad_(True)

    def unused_parameters(self) -> set[str]:
        """Names of the parameters on which none of the computed outputs depends."""
        used = used_parameters(self.body, self.run, self._probe_images())
        return {f"body.{name}" for name, _ in self.body.named_parameters() if name not in used}

    def _probe_images(self) -> Tensor:
        size = self.fixed_size or (4 * max(stage.stride for stage in self.stages),) * 2
        return torch.zeros(2, self.in_channels, *size, device="meta")

    def _frozen_parameters(self) -> set[str]:
        if self.freeze == "all":
            return {name for name, _ in self.body.named_parameters()}
        frozen: set[str] = set()
        if self.frozen_norm:
            frozen = {
                f"{prefix}.{name}"
                for prefix, layer in self.body.named_modules()
                if isinstance(layer, nn.modules.batchnorm._BatchNorm)
                for name, _ in layer.named_parameters()
            }
        if self.freeze == 0:
            return frozen
        if not 0 <= self.freeze <= len(self.stages):
            raise ConfigError(f"freeze must be 0 to {len(self.stages)} or \"all\" for '{self.name}', got {self.freeze}")
        last = self.freeze - 1
        return frozen | used_parameters(self.body, lambda images: self.run_stages(images, last), self._probe_images())

    def train(self, mode: bool = True) -> StagedBackbone:
        """Sets the training mode, except for frozen norms, whose statistics stay fixed."""
        super().train(mode)
        for layer in self._frozen_norms:
            layer.eval()
        return self

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Features:
        """Features of a batch of canvases; see `Backbone.forward`."""
        height, width = images.shape[-2:]
        if sizes is None:
            sizes = torch.tensor([[height, width]], device=images.device).expand(images.shape[0], 2)
        normal = normalize(images, self.mean, self.std)
        outputs = self.run(self._pad(normal))
        embedding = outputs[-1] if self.compute_embedding else None
        maps = outputs[:-1] if self.compute_embedding else outputs
        return Features(tuple(maps), embedding, Frame((height, width), sizes))

    def _pad(self, images: Tensor) -> Tensor:
        """Pads at the right and bottom with the mean color, which is 0 after normalization."""
        height, width = images.shape[-2:]
        if self.fixed_size is not None:
            if height > self.fixed_size[0] or width > self.fixed_size[1]:
                raise ConfigError(
                    f"backbone '{self.name}' is built for {self.fixed_size[0]}x{self.fixed_size[1]}, got {height}x{width}"
                )
            return F.pad(images, (0, self.fixed_size[1] - width, 0, self.fixed_size[0] - height))
        if self.size_multiple == 1:
            return images
        return F.pad(images, (0, -width % self.size_multiple, 0, -height % self.size_multiple))


def choose_out_indices(stages: Sequence[Level], out_indices: Sequence[int] | None, name: str) -> list[int]:
    """Indices of the stages whose maps are returned, finest first: by default the last one at each stride from 2 on.

    Raises:
        ConfigError: there is no such stage, or the strides do not increase.
    """
    if out_indices is None:
        last = {stage.stride: index for index, stage in enumerate(stages)}
        chosen = [index for stride, index in last.items() if stride >= 2]
    else:
        invalid = [index for index in out_indices if not -len(stages) <= index < len(stages)]
        if invalid or not out_indices:
            raise ConfigError(
                f"out_indices of backbone '{name}' go from 0 to {len(stages) - 1}, got {list(out_indices)}"
            )
        chosen = sorted({index % len(stages) for index in out_indices})
    if [stages[index].stride for index in chosen] != sorted(stages[index].stride for index in chosen):
        raise ConfigError(f"out_indices {chosen} of backbone '{name}' do not go from fine to coarse")
    return chosen


def weights_from(pretrained: bool | str, published: Mapping[str, str]) -> dict[str, str]:
    """The origin of a backbone's weights as stored in a model file, without local paths."""
    if isinstance(pretrained, str):
        return {"weights": Path(pretrained).name}
    return dict(published) if pretrained else {}


def describe_origin(name: str, pretrained: bool | str, report: Any) -> str:
    """The origin of a backbone's weights, for the log of a run."""
    if pretrained is True:
        return f"pretrained weights of '{name}'"
    if pretrained:
        return f"weights of '{name}' from {Path(pretrained).name}: {report.summary()}"
    return f"'{name}' from random weights; for pretrained ones set pretrained: true"
