"""The contract checks find what is broken in a part."""

from __future__ import annotations

from collections.abc import Collection

import pytest
import torch
from torch import nn

from vertebra.features import Features, FeatureSpec, Level
from vertebra.necks import FPN
from vertebra.testing import check_backbone, check_feature_part, check_keep_levels

SPEC = FeatureSpec((Level(8, 4), Level(12, 8), Level(16, 16)), embedding=16)


class Passing(nn.Module):
    """A neck that changes nothing."""

    def __init__(self, in_spec: FeatureSpec, keep_levels: Collection[int] | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.out_spec = in_spec

    def forward(self, features: Features) -> Features:
        return features.with_maps([self.scale * level for level in features.maps])


class Dropping(Passing):
    """It loses the embedding."""

    def forward(self, features: Features) -> Features:
        return Features(tuple(self.scale * level for level in features.maps), None, features.frame)


class Reversing(Passing):
    """It has other values where levels are kept."""

    def __init__(self, in_spec: FeatureSpec, keep_levels: Collection[int] | None = None) -> None:
        super().__init__(in_spec)
        self.sign = 1.0 if keep_levels is None else -1.0

    def forward(self, features: Features) -> Features:
        return features.with_maps([self.sign * self.scale * level for level in features.maps])


class Shortening(Passing):
    """It leaves out a level that is read."""

    def __init__(self, in_spec: FeatureSpec, keep_levels: Collection[int] | None = None) -> None:
        super().__init__(in_spec)
        if keep_levels is not None:
            self.out_spec = in_spec.with_levels(in_spec.levels[:1])


class Hoarding(Passing):
    """It holds parameters of a level that is not read."""

    def __init__(self, in_spec: FeatureSpec, keep_levels: Collection[int] | None = None) -> None:
        super().__init__(in_spec)
        self.scales = nn.Parameter(torch.ones(len(in_spec.levels)))
        self.last = nn.Linear(1, 1)

    def forward(self, features: Features) -> Features:
        *maps, deepest = (self.scale * level for level in features.maps)
        return features.with_maps([*maps, deepest * self.last.weight * self.scales.sum() + self.last.bias])


def test_sound_parts_pass() -> None:
    check_feature_part(Passing(SPEC), SPEC)
    check_keep_levels(Passing, SPEC)
    check_keep_levels(FPN, SPEC)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Reversing, "Tensor-likes are not close"),
        (Shortening, "level 1 is kept, but out_spec has 1 levels"),
        (Hoarding, "no gradient reaches 3 trainable parameters: scales, last.weight"),
    ],
)
def test_broken_keeping_of_levels(part: type[nn.Module], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_keep_levels(part, SPEC)


def test_what_must_pass_through() -> None:
    with pytest.raises(AssertionError, match="the embedding and the frame must pass through"):
        check_feature_part(Dropping(SPEC), SPEC)


def test_a_part_without_a_promise() -> None:
    with pytest.raises(AssertionError, match="Identity has no out_spec"):
        check_feature_part(nn.Identity(), SPEC)
    with pytest.raises(AssertionError, match="Identity is no Backbone; wrap it by as_backbone"):
        check_backbone(nn.Identity())  # type: ignore[arg-type]
