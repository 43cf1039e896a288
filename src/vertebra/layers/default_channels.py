"""Default widths of necks and heads."""

from __future__ import annotations

from vertebra.features import FeatureSpec


def default_channels(spec: FeatureSpec, minimum: int = 64, maximum: int = 256) -> int:
    """The default width of necks and heads for a backbone: an eighth of its deepest level, in steps of 32.

    MobileNetV2 (320 channels) gets 64 and ResNet-50 (2048) the 256 of the papers, so no part costs many times
    as much as its backbone.
    """
    eighth = -(-spec.levels[-1].channels // 8)
    return max(minimum, min(maximum, -(-eighth // 32) * 32))
