"""LayerNorm of each level."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vertebra.features import FeatureSpec, Level
from vertebra.necks.layer_norm import LevelNorm
from vertebra.testing import check_feature_part, check_keep_levels
from vertebra.testing.synthetic import fake_features

SPEC = FeatureSpec((Level(8, 4), Level(16, 8), Level(32, 16)), embedding=5)


def test_the_contract() -> None:
    neck = LevelNorm(SPEC)
    assert neck.out_spec == SPEC
    check_feature_part(neck, SPEC)
    check_keep_levels(LevelNorm, SPEC)


def test_each_cell_is_normalized_over_its_channels() -> None:
    features = fake_features(SPEC, (32, 48))
    normed = LevelNorm(SPEC)(features)
    for before, after in zip(features.maps, normed.maps, strict=True):
        expected = F.layer_norm(before.movedim(1, -1), before.shape[1:2], eps=1e-5).movedim(-1, 1)
        torch.testing.assert_close(after, expected)
