"""A wrapper that turns any module into a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.backbones.base import Backbone
from vertebra.features import Features, FeatureSpec, Frame
from vertebra.keywords import strict_keywords


class WrappedBackbone(Backbone):
    """A backbone around a module that returns feature maps; made by `as_backbone`."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, spec: FeatureSpec, size_multiple: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.name = type(body).__name__
        self.body = body
        self.out_spec = spec
        self.size_multiple = size_multiple
        self.in_channels = len(mean)
        self.origin = f"the weights that the wrapped {type(body).__name__} came with"
        self.register_buffer("mean", 255.0 * torch.tensor(mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(std).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Features:
        """Features of a batch of canvases; see `Backbone.forward`."""
        height, width = images.shape[-2:]
        if sizes is None:
            sizes = torch.tensor([[height, width]], device=images.device).expand(images.shape[0], 2)
        normal = (images.to(self.mean.dtype) - self.mean) / self.std
        if self.size_multiple > 1:
            normal = F.pad(normal, (0, -width % self.size_multiple, 0, -height % self.size_multiple))
        outputs = self.body(normal)
        maps, embedding = outputs if self.out_spec.embedding is not None else (outputs, None)
        return Features(tuple(maps), embedding, Frame((height, width), sizes))


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
    """
    return WrappedBackbone(module, spec, size_multiple, mean, std)
