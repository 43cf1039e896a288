"""Widths that fit, and options out of their limits."""

from __future__ import annotations

import pytest

from vertebra.errors import ConfigError
from vertebra.features import FeatureSpec, Level
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range


@pytest.mark.parametrize(
    ("deepest", "width"), [(2048, 256), (4096, 256), (1280, 160), (768, 96), (520, 96), (512, 64), (320, 64), (8, 64)]
)
def test_the_width_fits_the_deepest_level(deepest: int, width: int) -> None:
    assert default_channels(FeatureSpec((Level(8, 4), Level(deepest, 32)))) == width


def test_its_limits_can_be_moved() -> None:
    spec = FeatureSpec((Level(320, 32),))
    assert default_channels(spec, minimum=128) == 128
    assert default_channels(spec, minimum=16, maximum=32) == 32


def test_limits_are_told_in_full() -> None:
    check_range("neck 'x'", minimum=1, channels=None, depth=1)
    check_range("neck 'x'", minimum=0, maximum=1, dropout=1.0)
    with pytest.raises(ConfigError, match="^neck 'x': 'depth' must be 1 or more, got 0$"):
        check_range("neck 'x'", minimum=1, channels=3, depth=0)
    with pytest.raises(ConfigError, match="^neck 'x': 'dropout' must be from 0 to 1, got 1.5$"):
        check_range("neck 'x'", minimum=0, maximum=1, dropout=1.5)
    with pytest.raises(ConfigError, match="got nan"):
        check_range("neck 'x'", minimum=0, maximum=1, dropout=float("nan"))
