"""Random changes of training images: the options, and the presets by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vertebra.errors import ConfigError, UnknownName
from vertebra.parts import check_options

IMAGE_LEVEL_ONLY = ("crop_area", "crop_ratio")  # act on images whose annotations are all of the image as a whole
LOCATED_ONLY = ("scale", "stretch")  # act on all other images
RGB_ONLY = ("saturation", "hue")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images. Each is the same for an image and its boxes, masks and points.

    Attributes:
        horizontal_flip: probability of left and right changing places, where the labels allow it.
        vertical_flip: probability of top and bottom changing places (for images without an up: microscopy, aerial).
        scale: smallest and largest factor on the image's size on the canvas, where there are boxes, masks or points; what
            does not fit on the canvas is cut off at random.
        stretch: largest factor between the two axes' scales, where there are boxes, masks or points.
        crop_area: smallest and largest share of the image that is shown, for images that have only a class.
        crop_ratio: largest factor by which that part's aspect ratio differs from the whole image's.
        brightness, contrast, saturation: largest change of each, as a fraction; saturation is for RGB images.
        hue: largest turn of the hue, as a fraction of a full turn; for RGB images.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    scale: tuple[float, float] = (0.6, 1.5)
    stretch: float = 1.15
    crop_area: tuple[float, float] = (0.35, 1.0)
    crop_ratio: float = 4 / 3
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip", "brightness", "contrast", "saturation"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")
        _check("hue", self.hue, 0 <= self.hue <= 0.5, "from 0 to 0.5")
        for name in ("stretch", "crop_ratio"):
            _check(name, getattr(self, name), 1 <= getattr(self, name) < math.inf, "1 or more")
        low, high = self.scale
        _check("scale", self.scale, 0 < low <= high < math.inf, "two numbers above 0, the smaller one first")
        low, high = self.crop_area
        _check("crop_area", self.crop_area, 0 < low <= high <= 1, "two numbers from 0 to 1, the smaller one first")

    @classmethod
    def preset(cls, name: str) -> Augment:
        """The changes of a name: "none", "light", "default" or "strong".

        Raises:
            UnknownName: with the nearest names.
        """
        if name not in PRESETS:
            raise UnknownName("augmentation", name, PRESETS)
        return PRESETS[name]

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, Any]) -> Augment:
        """A preset with some options changed.

        Args:
            name: of the preset.
            options: over those of the preset.

        Raises:
            UnknownName: there is no such preset or option; with the nearest name.
            ConfigError: a value of a wrong type or out of range.
        """
        return replace(cls.preset(name), **check_options(cls, options, "train.augment"))

    @property
    def moves(self) -> bool:
        """Whether anything but colors changes."""
        still = PRESETS["none"]
        names = ("horizontal_flip", "vertical_flip", *LOCATED_ONLY, *IMAGE_LEVEL_ONLY)
        return any(getattr(self, name) != getattr(still, name) for name in names)


def _check(name: str, value: Any, right: bool, expected: str) -> None:
    if not right:
        raise ConfigError(f"'train.augment.{name}' must be {expected}, got {value}")


PRESETS = {
    "none": Augment(
        horizontal_flip=0.0,
        scale=(1.0, 1.0),
        stretch=1.0,
        crop_area=(1.0, 1.0),
        crop_ratio=1.0,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
    ),
    "light": Augment(
        scale=(0.8, 1.25),
        stretch=1.05,
        crop_area=(0.6, 1.0),
        crop_ratio=1.15,
        brightness=0.1,
        contrast=0.1,
        saturation=0.1,
        hue=0.0,
    ),
    "default": Augment(),
    "strong": Augment(
        scale=(0.3, 2.0),
        stretch=1.3,
        crop_area=(0.2, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.05,
    ),
}


def check_effect(options: Mapping[str, Any], *, image_level: bool, located: bool, channels: int) -> None:
    """Refuses options that would change nothing.

    Args:
        options: those over the preset's.
        image_level: whether there are images whose annotations are all of the image as a whole.
        located: whether there are other images.
        channels: of the images.

    Raises:
        ConfigError: an option has no effect on these data; the message names those that have.
    """
    for name in options:
        if name in IMAGE_LEVEL_ONLY and not image_level:
            _refuse(name, "it is for images that have only a class", LOCATED_ONLY)
        if name in LOCATED_ONLY and not located:
            _refuse(name, "it is for images with boxes, masks or points", IMAGE_LEVEL_ONLY)
        if name in RGB_ONLY and channels != 3:
            _refuse(name, f"it is for RGB images, and these have channels: {channels}", ("brightness", "contrast"))


def _refuse(name: str, reason: str, instead: tuple[str, ...]) -> None:
    raise ConfigError(f"'train.augment.{name}' has no effect: {reason}. Leave it out; here act: {', '.join(instead)}")
