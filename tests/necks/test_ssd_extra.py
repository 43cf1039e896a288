"""The extra levels of SSD."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vertebra import create_model
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.necks.ssd_extra import SSDExtra
from vertebra.testing import check_feature_part

SPEC = FeatureSpec((Level(8, 4), Level(16, 8), Level(24, 16), Level(64, 16)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"separable": True, "extra_levels": 4},
        {"norm": "none", "rescaled": True},
        {"norm": "group"},
    ],
)
def test_holds_the_contract(options: dict[str, Any]) -> None:
    check_feature_part(SSDExtra(SPEC, **options), SPEC)


def test_levels() -> None:
    neck = SSDExtra(SPEC, extra_levels=2, channels=[32, 16])
    assert neck.out_spec.levels == (Level(16, 8), Level(64, 16), Level(32, 32), Level(16, 64))
    assert SSDExtra(FeatureSpec((Level(512, 16), Level(2048, 32)))).out_spec.channels == (512, 2048, 512, 512, 512)
    assert SSDExtra(SPEC, extra_levels=0).out_spec.levels == (Level(16, 8), Level(64, 16))
    assert SSDExtra(SPEC, finest_stride=64).out_spec.strides == (16, 32, 64, 128)


def test_unpadded_levels_are_those_of_ssd300() -> None:
    spec = FeatureSpec((Level(16, 8), Level(32, 16)))
    neck = SSDExtra(spec, extra_levels=2, channels=[16, 8, 8, 8], norm="none", unpadded=[100, 300])
    maps = (torch.randn(1, 16, 38, 38), torch.randn(1, 32, 19, 19))
    frame = Frame((300, 300), torch.tensor([[300, 300]]))
    assert [level.shape[-1] for level in neck(Features(maps, None, frame)).maps] == [38, 19, 10, 5, 3, 1]
    assert neck.out_spec.strides == (8, 16, 32, 64, 100, 300)
    small = Features((torch.randn(1, 16, 8, 8), torch.randn(1, 32, 4, 4)), None, Frame((64, 64), frame.sizes))
    with pytest.raises(ConfigError, match="the canvas is too small for the 'unpadded' levels"):
        neck(small)


def test_the_finest_level_is_brought_to_one_length() -> None:
    neck = SSDExtra(SPEC, rescaled=True)
    maps = tuple(torch.randn(2, level.channels, 64 // level.stride, 64 // level.stride) for level in SPEC.levels)
    features = Features(maps, None, Frame((64, 64), torch.full((2, 2), 64)))
    out = neck(features).maps
    torch.testing.assert_close(out[0].norm(dim=1), torch.full((2, 8, 8), 20.0))
    assert torch.equal(out[1], maps[3])


def test_what_nobody_reads_is_left_out() -> None:
    neck = SSDExtra(SPEC, {1, 2}, rescaled=True)
    assert neck.out_spec.strides == (8, 16, 32) and len(neck.extra) == 1 and neck.factors is None


def test_ssd_asks_for_levels() -> None:
    model = create_model("test_resnet", neck="ssd_extra", decoder="ssdlite", classes=["a"], image_size=64)
    assert model.branch("detect").decoder.strides == [8, 16, 32, 64, 128, 256]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": [16]}, "must have one number for each of 3 extra levels"),
        ({"unpadded": [20]}, "increasing strides, coarser than the other levels"),
        ({"unpadded": [300], "separable": True}, "cannot be 'separable'"),
        ({"extra_levels": -1}, "extra_levels"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SSDExtra(SPEC, **options)
