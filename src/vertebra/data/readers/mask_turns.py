"""Masks of photos that are turned by their EXIF tag, drawn on the photo as it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_arrays import ARRAY_SUFFIXES, read_array
from vertebra.annotations.notes import Note
from vertebra.errors import DataError
from vertebra.preprocess.image_files import open_image
from vertebra.preprocess.raw_images import ORIENTATION

SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
SAMPLED = 200  # images that are checked for turns
_TURNED_SUFFIXES = (".jpg", ".jpeg")


def mask_turns(root: Path, images: Sequence[str], masks: Sequence[str], notes: list[Note]) -> np.ndarray | None:
    """The EXIF orientation by which each mask is to be turned, (n,) uint8, 1 for none; None if all are upright.

    A mask is turned if its image is turned sideways, and the mask has the size of the image as it is stored. All images are
    examined only if one of `SAMPLED`, evenly spaced, is turned.

    Args:
        root: folder that the paths are relative to.
        images, masks: n paths each.
        notes: gets a note with the number of turned masks.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, min(SAMPLED, len(images)), dtype=int)).tolist()
    if not any(_orientation(root / images[row])[0] in SIDEWAYS for row in rows):
        return None
    turns = np.ones(len(images), dtype=np.uint8)
    for row, image in enumerate(images):
        orientation, stored = _orientation(root / image)
        if orientation in SIDEWAYS and stored[0] != stored[1] and _size(root / masks[row]) == stored:
            turns[row] = orientation
    turned = [masks[row] for row in np.flatnonzero(turns > 1).tolist()]
    if not turned:
        return None
    notes.append(Note.of("mask", "drawn on its photo as it is stored", "turned as the photo is", turned))
    return turns


def _orientation(image: Path) -> tuple[int, tuple[int, int]]:
    """The EXIF orientation of an image, and its (height, width) as stored; 1 for an image that cannot be read."""
    if image.suffix.lower() not in _TURNED_SUFFIXES:
        return 1, (0, 0)
    try:
        with open_image(image) as picture:
            value = picture.getexif().get(ORIENTATION, 1)
            return (value if isinstance(value, int) else 1), (picture.height, picture.width)
    except Exception:  # a damaged image is reported when it is used
        return 1, (0, 0)


def _size(mask: Path) -> tuple[int, int]:
    """(height, width) of a mask; zeros for a damaged one."""
    try:
        if mask.suffix.lower() in ARRAY_SUFFIXES:
            shape = read_array(mask).shape
            return shape[0], shape[1]
        with open_image(mask) as picture:
            return picture.height, picture.width
    except DataError:
        return 0, 0
    except Exception:  # Pillow raises a dozen types on damaged files
        return 0, 0
