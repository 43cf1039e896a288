"""A wrapper that turns any module into a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.backbones.base import Backbone
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.keywords import check_count, strict_keywords
from vertebra.layers.normalize import normalize
from vertebra.layers.tracing import is_tracing


class WrappedBackbone(Backbone):
    """A backbone around a module that returns feature maps; made by `as_backbone`."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, spec: FeatureSpec, size_multiple: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        _check_arguments(body, spec, size_multiple, mean, std)
        self.name = type(body).__name__
        self.body = body
        self.out_spec = spec
        self.size_multiple = size_multiple
        self.in_channels = len(mean)
        self.origin = f"the weights that the wrapped {type(body).__name__} came with"
        self.register_buffer("mean", 255.0 * torch.tensor(mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(std).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Features:
        """Features of a batch of canvases; see `Backbone.forward`.

        Raises:
            ConfigError: the module returns something else than the spec promises; not checked while a graph is traced.
        """
        height, width = images.shape[-2:]
        if sizes is None:
            sizes = torch.tensor([[height, width]], device=images.device).expand(images.shape[0], 2)
        normal = normalize(images, self.mean, self.std)
        if self.size_multiple > 1:
            normal = F.pad(normal, (0, -width % self.size_multiple, 0, -height % self.size_multiple))
        outputs = self.body(normal)
        if not is_tracing(images):
            self._check_outputs(outputs, normal.shape)
        maps, embedding = outputs if self.out_spec.embedding is not None else (outputs, None)
        return Features(tuple(maps), embedding, Frame((height, width), sizes))

    def _check_outputs(self, outputs: Any, size: torch.Size) -> None:
        """Compares the module's outputs with the spec.

        Args:
            outputs: of the module.
            size: (N, C, H, W) of its input.
        """
        batch, _, height, width = size
        expected: list[tuple[int, ...]] = [
            (batch, level.channels, -(-height // level.stride), -(-width // level.stride))
            for level in self.out_spec.levels
        ]
        maps: Any = outputs
        if self.out_spec.embedding is not None:
            expected.append((batch, self.out_spec.embedding))
            if isinstance(outputs, list | tuple) and len(outputs) == 2 and isinstance(outputs[0], list | tuple):
                maps = [*outputs[0], outputs[1]]
            else:
                maps = None
        if isinstance(maps, list | tuple) and [getattr(value, "shape", None) for value in maps] == expected:
            return
        promised = ", ".join(map(str, expected[: len(self.out_spec.levels)]))
        promised = f"a list of maps {promised or '(none)'}"
        if self.out_spec.embedding is not None:
            promised = f"({promised}; an embedding {expected[-1]})"
        raise ConfigError(
            f"backbone '{self.name}': for images {tuple(size)} its spec promises {promised}, and the module returned "
            f"{_shapes(outputs)}; give as_backbone the channels, strides and size_multiple that the module has"
        )


def _shapes(outputs: Any) -> str:
    """What a module returned, as text."""
    if isinstance(outputs, Tensor):
        return f"a tensor {tuple(outputs.shape)}"
    if isinstance(outputs, list | tuple):
        return f"a {type(outputs).__name__} of {', '.join(map(_shapes, outputs)) or 'nothing'}"
    return type(outputs).__name__


def _check_arguments(module: Any, spec: Any, size_multiple: Any, mean: Any, std: Any) -> None:
    if not isinstance(module, nn.Module):
        raise ConfigError(f"as_backbone takes a torch.nn.Module, got {type(module).__name__}")
    if not isinstance(spec, FeatureSpec):
        raise ConfigError(
            f"as_backbone: 'spec' must be a vertebra.FeatureSpec, such as FeatureSpec((Level(64, 8), Level(128, 16))), got "
            f"{type(spec).__name__}"
        )
    check_count("size_multiple", size_multiple)
    for name, numbers in (("mean", mean), ("std", std)):
        if (
            not isinstance(numbers, Sequence)
            or not numbers
            or not all(isinstance(number, Real) for number in numbers)
            or len(numbers) != len(mean)
            or (name == "std" and min(numbers) <= 0)
        ):
            above = " above 0" if name == "std" else ""
            raise ConfigError(f"as_backbone: '{name}' must be numbers{above}, one for each channel, got {numbers!r}")


@strict_keywords
def as_backbone(
    module: nn.Module,
    spec: FeatureSpec,
    *,
    size_multiple: int = 1,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
) -> WrappedBackbone:
    """Wraps any module as a backbone.

    Args:
        module: takes normalized images (N, C, H, W) and returns a list of maps (N, C, ceil(H / stride), ceil(W / stride)),
            finest first; or (maps, embedding) if the spec has an embedding.
        spec: the levels and the embedding that it returns.
        size_multiple: its maps have these sizes if height and width are multiples of this number.
        mean: mean of the images it was trained on, in 0..1, one number for each channel.
        std: their standard deviation.

    Raises:
        ConfigError: an argument is of a wrong kind. Whether the module returns what ``spec`` promises is checked each time that
            it runs.
    """
    return WrappedBackbone(module, spec, size_multiple, mean, std)
