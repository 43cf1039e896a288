"""Semantic FPN: sums at the finest level, built-in pyramid, odd ratios, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vertebra import create_model
from vertebra.decoders.segment.semantic_fpn import SemanticFPN, UpsampleBranch
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import FeatureSpec, Level
from vertebra.layers.resample import upsample_like
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.testing import check_decoder, fake_features

SPEC = FeatureSpec((Level(8, 2), Level(16, 4), Level(24, 8), Level(32, 32)))
LABELS = SegmentLabels(("a", "b", "c"))


@pytest.mark.parametrize(
    "options",
    [
        {"pyramid_channels": 12, "channels": 16, "merge": "concatenate", "fit": "corners"},
        {"finest_stride": 8, "fit": "size", "groups": 8, "channels": 24},
        {"pyramid_channels": 12, "auxiliary": 0.4},
    ],
)
def test_holds_the_contract(options: dict[str, Any]) -> None:
    check_decoder(lambda in_spec, labels: SemanticFPN(in_spec, labels, **options), SPEC, LABELS)


def test_every_level_goes_up_and_is_added() -> None:
    decoder = SemanticFPN(SPEC, LABELS, channels=32).eval()
    assert (decoder.in_levels, decoder.stride) == ((1, 2, 3), 4)
    assert [len(path.convs) for path in decoder.paths] == [1, 1, 3]  # type: ignore[arg-type]
    features = fake_features(SPEC, (97, 65))
    fine, middle, deep = features.maps[1:]
    paths: Any = decoder.paths
    expected = paths[0].convs[0](fine) + upsample_like(paths[1].convs[0](middle), fine, 2, "bilinear")
    for conv, size in zip(paths[2].convs, ((7, 5), (13, 9), (25, 17)), strict=True):
        deep = upsample_like(conv(deep), size, 2, "bilinear")
    torch.testing.assert_close(decoder.maps(features), expected + deep)


def test_a_pyramid_of_its_own() -> None:
    decoder = SemanticFPN(SPEC, LABELS, pyramid_channels=8).eval()
    features = fake_features(SPEC, (97, 65))
    levels = list(features.maps[1:])
    fine, middle, deep = (conv(level) for conv, level in zip(decoder.pyramid, levels, strict=True))  # type: ignore[arg-type]
    middle = middle + upsample_like(deep, middle, 4)
    merged = decoder._pyramid(levels)
    torch.testing.assert_close(merged[0], fine + upsample_like(middle, fine, 2))
    assert SemanticFPN(SPEC, LABELS).pyramid is None


@pytest.mark.parametrize(("ratio", "steps"), [(1, []), (8, [2, 2, 2]), (6, [2, 3]), (3, [3])])
def test_ratios_that_are_no_powers_of_two(ratio: int, steps: list[int]) -> None:
    path = UpsampleBranch(4, 8, ratio, None, "stride")
    assert path.ratios == steps and len(path.convs) == max(1, len(steps))
    assert path(torch.randn(1, 4, 2, 3), (2 * ratio - (ratio > 1), 3 * ratio)).shape[-2:] == (
        2 * ratio - (ratio > 1),
        3 * ratio,
    )


def test_groups() -> None:
    groups = [SemanticFPN(SPEC, LABELS, channels=n).paths[0].convs[0][1].num_groups for n in (128, 64, 6)]  # type: ignore[union-attr, index]
    assert groups == [32, 16, 1]
    with pytest.raises(ConfigError, match="'groups' must divide 'channels', got 32 and 48"):
        SemanticFPN(SPEC, LABELS, channels=48, groups=32)


def test_it_stands_on_the_neck_of_its_name() -> None:
    model = create_model("resnet10t", neck="fpn", decoder="fpn", classes=["a", "b"], image_size=64)
    branch = model.branch("segment")
    assert branch.decoder.in_spec.strides == (4, 8, 16, 32) and len(set(branch.decoder.in_spec.channels)) == 1
    model = create_model("test_vit", neck="simple_pyramid", decoder="fpn", classes=["a", "b"], image_size=64)
    assert model.branch("segment").decoder.in_levels == (0, 1, 2, 3)
    with pytest.raises(IncompatiblePartsError, match="Add neck 'simple_pyramid'"):
        create_model("test_vit", decoder="fpn", classes=["a", "b"], image_size=64)
    with pytest.raises(IncompatiblePartsError, match="Set a smaller 'finest_stride'"):
        SemanticFPN(SPEC, LABELS, finest_stride=32)
