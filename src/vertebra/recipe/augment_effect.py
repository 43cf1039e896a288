"""Which options of the augmentation have an effect on the training images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vertebra.errors import ConfigError
from vertebra.recipe.augment import COLORS, MIXING, Augment

IMAGE_LEVEL_ONLY = ("crop_area", "crop_ratio", "mixup_alpha")  # for images whose annotations are all of the whole image
LOCATED_ONLY = ("scale", "stretch", "mixup_boxes_alpha")  # for all other images
RGB_ONLY = ("saturation", "hue")
SWITCHES = {  # by option, the options of which one must be on
    "blur_sigma": ("blur",),
    "noise_level": ("noise",),
    "jpeg_quality": ("jpeg",),
    "mosaic_center": ("mosaic",),
    "mixup_alpha": ("mixup",),
    "mixup_boxes_alpha": ("mixup",),
    "cutmix_alpha": ("cutmix",),
    "color_probability": COLORS,
}
MIXABLE = {
    "mosaic": "images with boxes, masks or points and no class",
    "mixup": "images with a class or boxes, and neither masks nor points",
    "cutmix": "images with a class, boxes or masks, and no points",
    "copy_paste": "images that have only masks, or masks of objects with their boxes",
}


def check_effect(
    options: Mapping[str, Any],
    augment: Augment,
    *,
    image_level: bool,
    located: bool,
    boxes: bool,
    mixable: Collection[str],
    channels: int,
) -> None:
    """Refuses options that would change nothing.

    Args:
        options: those over the preset's.
        augment: the preset with the options.
        image_level: whether there are images whose annotations are all of the image as a whole.
        located: whether there are other images.
        boxes: whether there are images with boxes of objects.
        mixable: the operations on several images that are defined for some of the images.
        channels: of the images.

    Raises:
        ConfigError: an option has no effect on these data; the message names those that have.
    """
    for name in options:
        if name in IMAGE_LEVEL_ONLY and not image_level:
            _refuse(name, "it is for images that have only a class", LOCATED_ONLY)
        if name in LOCATED_ONLY and not located:
            _refuse(name, "it is for images with boxes, masks or points", IMAGE_LEVEL_ONLY)
        if name == "iou_crop" and not boxes:
            _refuse(
                name, "it is for images with boxes", ("scale", "stretch") if located else ("crop_area", "crop_ratio")
            )
        if name in MIXING and name not in mixable:
            _refuse(name, f"it is for {MIXABLE[name]}", tuple(option for option in MIXING if option in mixable))
        if name in RGB_ONLY and channels != 3:
            _refuse(name, f"it is for RGB images, and these have channels: {channels}", ("brightness", "contrast"))
        if name == "jpeg" and channels not in (1, 3):
            _refuse(name, f"it is for RGB and gray images, and these have channels: {channels}", ("blur", "noise"))
        if name == "channel_shuffle" and channels == 1:
            _refuse(name, "the images have one channel", ("brightness", "contrast"))
        switches = SWITCHES.get(name, ())
        if switches and not any(getattr(augment, switch) for switch in switches):
            raise ConfigError(
                f"'train.augment.{name}' has no effect while {' and '.join(switches)} are 0: set {switches[0]}"
            )


def _refuse(name: str, reason: str, instead: tuple[str, ...]) -> None:
    acting = f"; here act: {', '.join(instead)}" if instead else ""
    raise ConfigError(f"'train.augment.{name}' has no effect: {reason}. Leave it out{acting}")
