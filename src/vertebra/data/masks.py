"""Masks in files: index and palette images, read on demand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.errors import DataError
from vertebra.preprocess.image_files import open_image
from vertebra.tasks.segment.annotation import SegmentAnnotation

UNKNOWN = -1
NOWHERE = -2
HIGHEST = 65535  # the highest class number of a mask, the maximum of 16 bits
BLOCK = 2**22  # pixels that are mapped at a time
PLANES = 2**31  # maximum pixels of all masks of an image with overlapping classes


@dataclass(frozen=True, eq=False)
class MaskFileColumn:
    """A mask file for each image.

    Attributes:
        root: folder that the files are relative to.
        files: (n,) bytes (dtype ``S``), paths; empty for an image without one.
        ids: (V,) int32, V > 256: the class id of each mask value, the last entry for all above; the ignore index for values
            to ignore, ``UNKNOWN`` for values without a class, ``NOWHERE`` for "none of the classes" of overlapping classes.
        class_count: number of classes K.
        multilabel: False: masks (H, W) of class ids; True: (K, H, W) of 0 and 1.
        ignore_index: the value of ignored pixels in the annotations.
    """

    root: Path
    files: np.ndarray
    ids: np.ndarray
    class_count: int
    multilabel: bool
    ignore_index: int

    @property
    def labeled(self) -> np.ndarray:
        """(n,) bool: whether there is a mask file."""
        existing: np.ndarray = self.files != b""
        return existing

    def path(self, row: int) -> Path:
        """An image's mask file."""
        return self.root / os.fsdecode(self.files[row])

    def get(self, row: int, size: tuple[int, int]) -> SegmentAnnotation:
        """The mask of an image.

        Raises:
            DataError: the file is unreadable, of another size than the image, or has a value without a class.
        """
        path = self.path(row)
        values = read_mask(path)
        if values.shape != size:
            raise DataError(
                f"{path}: this mask is {values.shape[0]}x{values.shape[1]}, but its image is {size[0]}x{size[1]} "
                "(height x width); make them equal"
            )
        if not self.multilabel:
            kind = np.uint8 if 0 <= self.ignore_index <= 255 else np.int32
            mask = np.empty(size, dtype=kind)
        else:
            check_planes(self.class_count, size)
            mask = np.empty((self.class_count, *size), dtype=np.uint8)
        rows = max(1, BLOCK // max(1, size[1]))
        for top in range(0, size[0], rows):  # a few rows at a time: numpy converts indices to 64 bits
            ids = self._ids_of(values[top : top + rows])
            if (ids == UNKNOWN).any():
                raise self._unknown_values(path, values)
            part = ids if not self.multilabel else planes_of(ids, self.class_count, self.ignore_index)
            mask[..., top : top + rows, :] = part
        return SegmentAnnotation(mask)

    def _ids_of(self, values: np.ndarray) -> np.ndarray:
        """The id of each value."""
        if values.dtype != np.uint8:
            values = np.minimum(values.astype(np.int64), len(self.ids) - 1)
        ids: np.ndarray = self.ids[values]
        return ids

    def _unknown_values(self, path: Path, values: np.ndarray) -> DataError:
        occurring = np.unique(values)
        unknown = occurring[self._ids_of(occurring) == UNKNOWN]
        return DataError(f"{path}: {describe_values(unknown)} of no class; {self._suggestion(int(unknown[0]))}")

    def _suggestion(self, value: int) -> str:
        known = np.flatnonzero((self.ids >= 0) & (self.ids != self.ignore_index) | (self.ids == NOWHERE))
        if value > HIGHEST:
            return f"classes have {span(known)}, at most {HIGHEST}; save the mask with such numbers"
        return f"classes have {span(known)}; set ignore_index: {value}, or name its class"

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: a mask of another size than the image cannot be read."""
        return {}

    def take(self, rows: np.ndarray) -> MaskFileColumn:
        """The column of some images only."""
        return replace(self, files=self.files[rows])


def read_mask(path: Path) -> np.ndarray:
    """The values of a mask file: (H, W) of an unsigned integer type; of a palette image its indices, not its colors.

    Raises:
        DataError: the file is missing, unreadable, or a color picture.
    """
    try:
        with open_image(path) as picture:
            picture.load()
            values = np.asarray(picture)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such mask file") from None
    except Exception as error:  # Pillow raises a dozen types on damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: this mask is damaged or no image ({reason}); save it again as PNG") from error
    if values.ndim == 3:
        colors = values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]
        if (colors != colors[:, :, :1]).any():
            raise DataError(
                f"{path}: a color picture; a mask holds one class number a pixel. Save it as a gray or palette PNG"
            )
        values = values[:, :, 0]
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind not in "ui" or (values.dtype.kind == "i" and values.size and values.min() < 0):
        raise DataError(f"{path}: masks hold whole numbers from 0, this one is {values.dtype}")
    return values


def mask_values(paths: Sequence[Path], max_files: int = 500) -> dict[int, Path]:
    """The values that occur in masks, each with the first file that has it.

    Args:
        max_files: maximum number of files that are read, evenly spaced.

    Raises:
        DataError: none of the masks can be read. Single unreadable masks are skipped here; they are counted and named when
            their image is used.
    """
    file_of: dict[int, Path] = {}
    damaged: list[DataError] = []
    for row in np.unique(np.linspace(0, len(paths) - 1, min(max_files, len(paths)), dtype=int)):
        try:
            values = read_mask(paths[row])
        except DataError as error:
            damaged.append(error)
            continue
        for value in _occurring(values).tolist():
            file_of.setdefault(value, paths[row])
    if damaged and not file_of:
        raise damaged[0]
    return dict(sorted(file_of.items()))


def _occurring(values: np.ndarray) -> np.ndarray:
    """The values of a mask, ascending; only the highest if it is above every class number."""
    if values.dtype != np.uint8:
        highest = values.max(keepdims=True).ravel()
        return highest if highest[0] > HIGHEST else np.unique(values)  # there may be millions of them
    counts = np.zeros(256, dtype=np.int64)
    rows = max(1, BLOCK // max(1, values.shape[1]))
    for top in range(0, len(values), rows):
        counts += np.bincount(values[top : top + rows].ravel(), minlength=256)
    return np.flatnonzero(counts)


def check_planes(class_count: int, size: tuple[int, int]) -> None:
    """Refuses masks that are too large for memory: one for each class, each of the image's size.

    Raises:
        DataError: there are too many classes for the image's size.
    """
    if class_count * size[0] * size[1] > PLANES:
        raise DataError(
            f"{class_count} classes that may overlap need a mask each of {size[0]}x{size[1]} pixels, which is too much; "
            "name fewer classes, set multilabel: false, or cut the images"
        )


def planes_of(ids: np.ndarray, class_count: int, ignore_index: int) -> np.ndarray:
    """Converts class ids (H, W) to a mask for each class, (K, H, W) uint8 of 0 and 1; ignored pixels are ignored in all of them."""
    planes = np.empty((class_count, *ids.shape), dtype=np.uint8)
    np.equal(ids[None], np.arange(class_count)[:, None, None], out=planes.view(bool))
    planes[:, ids == ignore_index] = ignore_index
    return planes


def describe_values(values: np.ndarray) -> str:
    """Mask values as text: ``value 7`` or ``values 7, 9, 11 …``."""
    shown = ", ".join(str(value) for value in values[:5].tolist()) + (" …" if len(values) > 5 else "")
    return f"value {shown}" if len(values) == 1 else f"values {shown}"


def span(values: np.ndarray) -> str:
    """Sorted numbers as text: ``0 to 10``, or a list if there are gaps."""
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(str(value) for value in values[:12].tolist()) + (" …" if len(values) > 12 else "")
