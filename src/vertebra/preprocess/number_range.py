"""Converts images of any dtype to 8 bit, by the range that their numbers have.

| input | ``scale: auto`` | a stated range |
|---|---|---|
| uint8 | unchanged | unchanged |
| bool | 0 and 255 | 0 and 255 |
| 16 bit without sign (PNG, TIFF, arrays) | 0 to 65535, whatever part of it an image uses | the range |
| floats within 0..1 | 0 to 1, as in torchvision and scikit-image | the range |
| other whole numbers within 0..255; for arrays in memory also as floats | 8-bit values | the range |
| other numbers (counts, normalized images) | refused; the message names ``scale`` | the range |
| NaN and infinity | refused | refused |

A stated range ``[low, high]`` maps low to 0 and high to 255; numbers outside are clipped. Nothing depends on the minimum or
maximum of a single image, so equal numbers are equal gray levels in all images.

The result has 256 levels of the range, which is the input of every model here: canvases, batches and exported files are uint8,
and pretrained backbones were trained on 8 bit. A narrower range gives finer steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, Literal

import numpy as np

from vertebra.errors import ConfigError, DataError

Scale = Literal["auto"] | tuple[float, float]
ScaleOption = str | float | Sequence[float]
"""A range as users write it; see `parse_scale`."""

BLOCK = 2**22  # numbers computed at a time
EXACT = 2**16  # integers up to this are exact in float32, and so are their differences
FAR = 1e37  # differences of larger floats may overflow in float32
SMALL_PART = 0.25  # of a range; images that all stay below it are darker than they need be
LARGEST_UINT16 = 65535.0


def parse_scale(value: Any) -> Scale:
    """The range of an option ``scale``: "auto", the number of white (255, 65535), or [low, high].

    Raises:
        ConfigError: the value is none of these.
    """
    if isinstance(value, str) and value == "auto":
        return "auto"
    bounds = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [0, value]
    numbers = len(bounds) == 2 and all(
        isinstance(bound, int | float) and not isinstance(bound, bool) and np.isfinite(bound) for bound in bounds
    )
    if not numbers or not bounds[0] < bounds[1]:
        raise ConfigError(
            f"scale must be auto, the number of white (255 or 65535), or [low, high] with low below high, got {value!r}"
        )
    return (float(bounds[0]), float(bounds[1]))


class RangeUse:
    """Counts, over several images, those of more than 8 bits and the part of their range that they use.

    Args:
        scale: the range of the model's input.

    Attributes:
        images: number of images.
        deep: number of images whose numbers were scaled to 8 bit.
        clipped: number of images with numbers outside a stated range.
        lowest, highest: over all numbers that were scaled.
        limit: the largest number of the range.
    """

    def __init__(self, scale: Scale = "auto") -> None:
        self.scale = scale
        self.images = self.deep = self.clipped = 0
        self.lowest, self.highest, self.limit = np.inf, -np.inf, 0.0
        self._lock = Lock()

    @classmethod
    def joined(cls, parts: Sequence[RangeUse]) -> RangeUse:
        """The images of several, at least one, of the same ``scale``."""
        use = cls(parts[0].scale)
        for part in parts:
            use.images, use.deep, use.clipped = (
                use.images + part.images,
                use.deep + part.deep,
                use.clipped + part.clipped,
            )
            use.lowest, use.highest = min(use.lowest, part.lowest), max(use.highest, part.highest)
            use.limit = max(use.limit, part.limit)
        return use

    def add_image(self) -> None:
        """Counts an image."""
        with self._lock:
            self.images += 1

    def add(self, lowest: float, highest: float, bounds: tuple[float, float]) -> None:
        """Counts an image whose numbers were scaled.

        Args:
            lowest, highest: its numbers.
            bounds: the range they were scaled from.
        """
        with self._lock:
            self.deep += 1
            self.clipped += lowest < bounds[0] or highest > bounds[1]
            self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
            self.limit = bounds[1]

    def small_part(self) -> tuple[str, str] | None:
        """That images use a small part of the range of ``scale: auto``, and the cure; None if they do not."""
        if not self.deep or self.scale != "auto" or self.highest >= SMALL_PART * self.limit:
            return None
        levels = int(self.highest / self.limit * 255) + 1
        return (
            f"{self.deep} of {self.images} images hold numbers up to {self.highest:g} of 0..{self.limit:g}, so the model gets "
            f"{levels} of 256 gray levels",
            f"state the range of these images with 'scale', such as scale: [0, {_next_bound(self.highest):g}]",
        )

    def warnings(self) -> list[str]:
        """What is probably wrong: images that use a small part of the range, or have numbers outside it."""
        small_part = self.small_part()
        lines = [] if small_part is None else ["; ".join(small_part)]
        if self.clipped:
            low, high = self.scale if self.scale != "auto" else (0.0, self.limit)
            lines.append(
                f"{self.clipped} of {self.images} images hold numbers outside scale: [{low:g}, {high:g}], which are clipped "
                f"(they reach from {self.lowest:g} to {self.highest:g})"
            )
        return lines

    def notes(self) -> list[str]:
        """That there are 8-bit images, which a stated range does not change, or beside others."""
        if self.deep == self.images or (not self.deep and self.scale == "auto"):
            return []
        return [f"{self.images - self.deep} of {self.images} images are of 8 bit; 'scale' does not change them"]


def to_bytes(
    array: np.ndarray, name: str, scale: Scale = "auto", *, in_memory: bool = False, use: RangeUse | None = None
) -> np.ndarray:
    """Numbers of any type as uint8 of the same shape, by the table of this module.

    Args:
        array: at least one number.
        name: of the image, for messages.
        scale: the range.
        in_memory: for an array that a program passes, where floats may be 8-bit values.
        use: counts the image.

    Raises:
        DataError: it does not hold numbers, has NaN or infinity, or its range is unknown.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise DataError(f"{name}: an image array must hold numbers, got {array.dtype}")
    bounds = scaled_range(array, name, scale, in_memory=in_memory, use=use)
    return array.astype(np.uint8) if bounds is None else _scaled(array, *bounds)


def scaled_range(
    array: np.ndarray, name: str, scale: Scale = "auto", *, in_memory: bool = False, use: RangeUse | None = None
) -> tuple[float, float] | None:
    """The range from which `to_bytes` scales numbers; None for 8-bit values. See there for the arguments and errors."""
    if array.dtype in (np.uint8, bool):
        return None
    lowest, highest = _min_and_max(array, name)
    bounds = scale if scale != "auto" else _bounds(array, lowest, highest, in_memory, name)
    if bounds is not None and use is not None:
        use.add(lowest, highest, bounds)
    return bounds


def stretched(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers as uint8 from the minimum to the maximum, for pictures; floats within 0..1 and 8-bit values keep their range.

    Raises:
        DataError: some are NaN or infinite, or it does not hold numbers.
    """
    if array.dtype == np.uint8 or array.dtype.kind not in "uif":
        return to_bytes(array, name)
    lowest, highest = _min_and_max(array, name)
    if array.dtype.kind == "f" and lowest >= 0 and highest <= 1:
        lowest, highest = 0.0, 1.0
    elif array.dtype.kind in "ui" and array.dtype != np.uint16 and lowest >= 0 and highest <= 255:
        lowest, highest = 0.0, 255.0
    return _scaled(array, lowest, highest)


def _bounds(array: np.ndarray, lowest: float, highest: float, in_memory: bool, name: str) -> tuple[float, float] | None:
    """The range of ``scale: auto``; None for 8-bit values of another dtype."""
    if array.dtype == np.uint16:
        return (0.0, LARGEST_UINT16)
    floats = array.dtype.kind == "f"
    if floats and lowest >= 0 and highest <= 1:
        return (0.0, 1.0)
    if lowest >= 0 and highest <= 255 and (not floats or (in_memory and _whole(array))):
        return None
    what = "the numbers are counts or normalized" if floats else "they are not 8-bit values"
    raise DataError(
        f"{name}: it holds {array.dtype} from {lowest:g} to {highest:g}, an ambiguous range ({what}); state the range of all "
        "images with the model's option scale: [low, high], or give 8-bit values (uint8) or floats from 0 to 1"
    )


def _next_bound(highest: float) -> float:
    """The end of a usual range that holds a number: 2^n - 1 for counts, else the number."""
    return float(2 ** int(highest).bit_length() - 1) if highest > 1 else highest


def _min_and_max(array: np.ndarray, name: str) -> tuple[float, float]:
    lowest, highest = float(array.min()), float(array.max())
    if not np.isfinite(lowest) or not np.isfinite(highest) or not np.isfinite(highest - lowest):
        count = array.size - int(np.isfinite(array).sum())
        what = f"{count} of its {array.size} values are NaN or infinite" if count else "its values are too far apart"
        raise DataError(f"{name}: {what}; replace them by numbers first")
    return lowest, highest


def _scaled(array: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Maps ``lowest`` to ``highest`` onto 0 to 255, a few rows at a time, to avoid wide copies of a large image."""
    far = max(-lowest, highest) > (FAR if array.dtype.kind == "f" else EXACT)
    kind = np.float64 if far or array.dtype.itemsize > 4 else np.float32
    table = _levels(np.arange(2**16), lowest, highest) if array.dtype == np.uint16 else None
    result = np.empty(array.shape, dtype=np.uint8)
    rows = max(1, BLOCK // max(1, array[0].size))
    for top in range(0, len(array), rows):
        part = array[top : top + rows]
        result[top : top + rows] = _levels(part.astype(kind), lowest, highest) if table is None else table[part]
    return result


def _levels(numbers: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """The gray levels of numbers, uint8."""
    levels: np.ndarray = ((numbers - lowest) * (255.0 / max(highest - lowest, 1e-300))).round().clip(0, 255)
    return levels.astype(np.uint8)


def _whole(array: np.ndarray) -> bool:
    """Whether floats are whole numbers, as an 8-bit image has after ``astype(float)``."""
    rows = max(1, BLOCK // max(1, array[0].size))
    return all(bool((part == np.rint(part)).all()) for part in np.array_split(array, -(-len(array) // rows)))
