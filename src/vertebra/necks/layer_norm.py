"""LayerNorm of each level."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from torch import nn

from vertebra.features import Features, FeatureSpec
from vertebra.layers.norm import LayerNorm2d
from vertebra.necks.base import Neck


class LevelNorm(Neck):
    """LayerNorm over the channels of each cell, level by level; channels and strides stay the same. For backbones whose levels are
    not normalized: Swin in front of dense decoders has it in its paper.

    Args:
        keep_levels: levels coarser than the last of these are left out; see `vertebra.necks.base.Neck`.

    Raises:
        IncompatiblePartsError: there is no level.
    """

    paper: ClassVar[str] = "Liu et al., Swin Transformer, ICCV 2021, arXiv 2103.14030"

    def __init__(self, in_spec: FeatureSpec, keep_levels: Collection[int] | None = None) -> None:
        super().__init__()
        in_spec.require_levels()
        levels = in_spec.levels if keep_levels is None else in_spec.levels[: max(keep_levels) + 1]
        self.norms = nn.ModuleList(
            LayerNorm2d(level.channels, eps=1e-5) if keep_levels is None or number in keep_levels else nn.Identity()
            for number, level in enumerate(levels)
        )
        self.out_spec = in_spec.with_levels(levels)

    def forward(self, features: Features) -> Features:
        """The normalized levels."""
        return features.with_maps([norm(level) for norm, level in zip(self.norms, features.maps, strict=False)])
