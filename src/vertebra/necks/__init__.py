"""Necks by name. A neck fuses feature levels: it takes features and returns features."""

from vertebra.necks.base import Neck
from vertebra.necks.bifpn import BiFPN
from vertebra.necks.fpn import FPN
from vertebra.necks.layer_norm import LevelNorm
from vertebra.necks.pafpn import PAFPN
from vertebra.necks.simple_pyramid import SimplePyramid
from vertebra.necks.ssd_extra import SSDExtra

NECKS: dict[str, type[Neck]] = {
    "bifpn": BiFPN,
    "fpn": FPN,
    "layer_norm": LevelNorm,
    "pafpn": PAFPN,
    "simple_pyramid": SimplePyramid,
    "ssd_extra": SSDExtra,
}

__all__ = ["BiFPN", "FPN", "LevelNorm", "NECKS", "Neck", "PAFPN", "SSDExtra", "SimplePyramid"]
