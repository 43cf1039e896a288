"""What some of the mask files of a data set hold: values, colors, and whether they were saved with loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from vertebra.annotations.mask_files import BLOCK, HIGHEST, color_codes, mask_pixels
from vertebra.errors import DataError

MOST_FILES = 500
MOST_COLORS = 4096
LOSSY_SUFFIXES = (".jpg", ".jpeg")
DARK, BRIGHT = 31, 224  # values up to and from here may be 0 and 255 after lossy saving
EXTREMES = 0.75  # least fraction of pixels that are dark or bright in a binary mask
AT_BORDERS = 0.9  # least fraction of the other pixels that lie where dark and bright pixels meet
BORDER = 4  # pixels around a border that soft edges reach


@dataclass
class MaskSample:
    """The values of some masks.

    Attributes:
        files: that could be read.
        counts: pixels of each value, and of each index of a palette.
        file_of: the first file with each value.
        colors: pixels of each color (see `color_codes`) of color pictures; and of all masks as colors, if there are such.
        color_file: the first file with each color.
        colored: whether some are color pictures.
        lossy: whether some are JPEG files.
    """

    files: list[Path] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    file_of: dict[int, Path] = field(default_factory=dict)
    colors: Counter[int] = field(default_factory=Counter)
    color_file: dict[int, Path] = field(default_factory=dict)
    colored: bool = False
    lossy: bool = False


def sample_masks(paths: Sequence[Path], *, palettes: bool = False, most: int = MOST_FILES) -> MaskSample:
    """What masks hold.

    Args:
        paths: of all masks.
        palettes: whether the colors of palettes matter.
        most: maximum number of files that are read, evenly spaced.

    Raises:
        DataError: none of the masks can be read. Single unreadable masks are skipped here; they are counted and named when
            their image is used.
    """
    sample = MaskSample()
    damaged: list[DataError] = []
    for row in np.unique(np.linspace(0, len(paths) - 1, min(most, len(paths)), dtype=int)):
        path = paths[row]
        try:
            pixels = mask_pixels(path)
        except DataError as error:
            damaged.append(error)
            continue
        sample.files.append(path)
        sample.lossy |= path.suffix.lower() in LOSSY_SUFFIXES
        if pixels.ndim == 3:
            sample.colored = True
        else:
            _count(*_occurring(pixels), path, sample.counts, sample.file_of)
        if palettes or pixels.ndim == 3:
            colors = mask_pixels(path, colored=True) if palettes and pixels.ndim == 2 else pixels
            _count_colors(colors, path, sample)
    if damaged and not sample.files:
        raise damaged[0]
    sample.counts = Counter(dict(sorted(sample.counts.items())))
    sample.file_of = dict(sorted(sample.file_of.items()))
    if sample.colored and not palettes:
        for value, count in sample.counts.items():
            sample.colors[min(value, 255) * 0x010101] += count
            sample.color_file.setdefault(min(value, 255) * 0x010101, sample.file_of[value])
    return sample


def soft_pixels(sample: MaskSample, most: int = 20) -> tuple[int, list[Path]] | None:
    """The pixels of binary masks, of 0 and 255, that are neither since they were saved with loss or have soft edges.

    Args:
        sample: of masks that are no color pictures.
        most: number of files in which the borders are examined.

    Returns:
        Their number and the first files with such pixels; None if the masks are not binary: too few pixels are nearly 0 or 255,
        or others lie elsewhere than at borders.
    """
    total = sum(sample.counts.values())
    dark = sum(count for value, count in sample.counts.items() if value <= DARK)
    bright = sum(count for value, count in sample.counts.items() if BRIGHT <= value <= 255)
    stray = {value for value in sample.counts if value not in (0, 255)}
    between = total - dark - bright
    if max(sample.counts, default=0) > 255 or not dark or not bright or not stray or dark + bright < EXTREMES * total:
        return None
    if not between and not (sample.lossy or len(stray) > DARK // 4):
        return None
    if not sample.lossy and bright <= between:
        return None
    files = [sample.file_of[value] for value in sorted(stray)]
    rows = np.unique(np.linspace(0, len(sample.files) - 1, min(most, len(sample.files)), dtype=int))
    inner = strays = 0
    for row in rows:
        values = mask_pixels(sample.files[row])
        middle = (values > DARK) & (values < BRIGHT)
        strays += int(middle.sum())
        inner += int((middle & ~_near_borders(values >= 128)).sum())
    if inner > (1 - AT_BORDERS) * strays:
        return None
    return sum(sample.counts[value] for value in stray), list(dict.fromkeys(files))


def _near_borders(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool, pixels near which a mask (H, W) has both values."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    size = 2 * BORDER + 1
    widest, least = (np.asarray(picture.filter(kind(size))) for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter))
    near: np.ndarray = widest != least
    return near


def _count(values: np.ndarray, counts: np.ndarray, path: Path, total: Counter[int], first: dict[int, Path]) -> None:
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        total[value] += count
        first.setdefault(value, path)


def _count_colors(pixels: np.ndarray, path: Path, sample: MaskSample) -> None:
    if len(sample.colors) <= MOST_COLORS:
        _count(*np.unique(color_codes(pixels), return_counts=True), path, sample.colors, sample.color_file)


def _occurring(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a mask, ascending, with their pixels; only the highest if it is above every class number."""
    if values.dtype != np.uint8:
        highest = values.max(keepdims=True).ravel()[:1]
        if highest[0] > HIGHEST:
            return highest, np.ones(1, dtype=np.int64)  # there may be millions of them
        return np.unique(values, return_counts=True)
    counts = np.zeros(256, dtype=np.int64)
    rows = max(1, BLOCK // max(1, values.shape[1]))
    for top in range(0, len(values), rows):
        counts += np.bincount(values[top : top + rows].ravel(), minlength=256)
    occurring = np.flatnonzero(counts)
    return occurring, counts[occurring]
