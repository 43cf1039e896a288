"""Random changes of training images: the options, and the presets by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vertebra.errors import ConfigError, UnknownName
from vertebra.parts import check_options

MAX_PERSPECTIVE = 0.15  # up to this, the whole canvas is in front of the camera


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images. Each is the same for an image and its boxes, masks and points.

    Attributes:
        horizontal_flip: probability of left and right changing places, where the labels allow it.
        vertical_flip: probability of top and bottom changing places (for images without an up: microscopy, aerial).
        quarter_turn: probability of a turn by 90, 180 or 270 degrees (for images without an up).
        rotate: largest angle of a free rotation, in degrees, in both directions.
        perspective: largest shift of each corner of the image, as a share of the image's side.
        scale: smallest and largest factor on the image's size on the canvas, where there are boxes, masks or points; what
            does not fit on the canvas is cut off at random. Known as large-scale jitter.
        stretch: largest factor between the two axes' scales, where there are boxes, masks or points.
        iou_crop: probability of a crop that keeps an object, in place of ``scale`` and ``stretch``, for images with boxes (SSD).
        crop_area: smallest and largest share of the image that is shown, for images that have only a class.
        crop_ratio: largest factor by which that part's aspect ratio differs from the whole image's.
        brightness, contrast, saturation: largest change of each, as a fraction; saturation is for RGB images.
        hue: largest turn of the hue, as a fraction of a full turn; for RGB images.
        color_probability: probability of each of these four changes.
        channel_shuffle: probability of the color channels changing places.
        blur: probability of a Gaussian blur.
        blur_sigma: its smallest and largest standard deviation, in canvas pixels.
        noise: probability of Gaussian noise.
        noise_level: its smallest and largest standard deviation, in gray levels of 0 to 255.
        jpeg: probability of artifacts of JPEG compression; for RGB and gray images.
        jpeg_quality: its lowest and highest quality.
        mosaic: probability of four images side by side, for images with boxes, masks or points.
        mosaic_center: smallest and largest position of the point where they meet, as a share of the canvas' sides.
        mixup: probability of two images laid over each other, for images that have a class or boxes.
        mixup_alpha: of the Beta distribution of the weight of one image, for images that have only a class.
        mixup_boxes_alpha: the same for images with boxes; all boxes of both images count, so it is large: the weight is near 0.5.
        cutmix: probability of a rectangle of another image, for images that have a class, boxes or masks.
        cutmix_alpha: of the Beta distribution of the share of the first image.
        copy_paste: probability of objects of another image being pasted, for images that have only masks, or masks of objects with
            their boxes and attributes.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    quarter_turn: float = 0.0
    rotate: float = 0.0
    perspective: float = 0.0
    scale: tuple[float, float] = (0.6, 1.5)
    stretch: float = 1.15
    iou_crop: float = 0.0
    crop_area: tuple[float, float] = (0.35, 1.0)
    crop_ratio: float = 4 / 3
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.05
    color_probability: float = 1.0
    channel_shuffle: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    noise: float = 0.0
    noise_level: tuple[float, float] = (1.0, 10.0)
    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 95)
    mosaic: float = 0.0
    mosaic_center: tuple[float, float] = (0.3, 0.7)
    mixup: float = 0.0
    mixup_alpha: float = 0.8
    mixup_boxes_alpha: float = 32.0
    cutmix: float = 0.0
    cutmix_alpha: float = 1.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        for name in (*PROBABILITIES, "brightness", "contrast", "saturation"):
            self._check(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        for name, most in (("hue", 0.5), ("perspective", MAX_PERSPECTIVE), ("rotate", 180)):
            self._check(name, 0 <= getattr(self, name) <= most, f"from 0 to {most}")
        for name in ("stretch", "crop_ratio"):
            self._check(name, 1 <= getattr(self, name) < math.inf, "1 or more")
        for name in ("mixup_alpha", "mixup_boxes_alpha", "cutmix_alpha"):
            self._check(name, 0 < getattr(self, name) < math.inf, "above 0")
        for name in ("scale", "blur_sigma", "noise_level"):
            self._check_range(name, 0, math.inf, "two numbers above 0, the smaller one first")
        for name in ("crop_area", "mosaic_center"):
            self._check_range(name, 0, 1, "two numbers from 0 to 1, the smaller one first")
        self._check_range("jpeg_quality", 0, 100, "two numbers from 1 to 100, the smaller one first")

    def _check(self, name: str, right: bool, expected: str) -> None:
        if not right:
            raise ConfigError(f"'train.augment.{name}' must be {expected}, got {getattr(self, name)}")

    def _check_range(self, name: str, least: float, most: float, expected: str) -> None:
        low, high = getattr(self, name)
        self._check(name, least < low <= high <= most and high < math.inf, expected)

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

    @cached_property
    def moves(self) -> bool:
        """Whether anything but colors changes, within one image."""
        still = PRESETS["none"]
        return any(getattr(self, name) != getattr(still, name) for name in GEOMETRY)

    @cached_property
    def recolors(self) -> bool:
        """Whether pixels change that do not move."""
        return any(getattr(self, name) for name in PIXELS)

    @cached_property
    def mixes(self) -> frozenset[str]:
        """The operations on several images that are switched on."""
        return frozenset(name for name in MIXING if getattr(self, name))


PROBABILITIES = (
    "horizontal_flip", "vertical_flip", "quarter_turn", "iou_crop", "color_probability", "channel_shuffle", "blur", "noise",
    "jpeg", "mosaic", "mixup", "cutmix", "copy_paste",
)  # fmt: skip
GEOMETRY = (
    "horizontal_flip", "vertical_flip", "quarter_turn", "rotate", "perspective", "scale", "stretch", "iou_crop", "crop_area",
    "crop_ratio",
)  # fmt: skip
COLORS = ("brightness", "contrast", "saturation", "hue")
PIXELS = (*COLORS, "channel_shuffle", "blur", "noise", "jpeg")
MIXING = ("mosaic", "mixup", "cutmix", "copy_paste")

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
        brightness=0.6,
        contrast=0.6,
        saturation=0.6,
        hue=0.1,
        blur=0.1,
        noise=0.1,
        jpeg=0.1,
    ),
}
