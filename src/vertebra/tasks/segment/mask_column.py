"""Masks read on demand from a file for each image."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_files import (
    BLOCK,
    HIGHEST,
    color_codes,
    describe_values,
    mask_pixels,
    read_mask,
    span,
    upright_mask,
)
from vertebra.annotations.scope import LabelScope
from vertebra.errors import DataError
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.scope import limited_to

UNKNOWN = -1
NOWHERE = -2
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
        codes, turns: colors of masks and EXIF orientations, see `vertebra.annotations.table.MaskFiles`.
        scope: the classes that are annotated in each image; None for all classes in all images.
    """

    root: Path
    files: np.ndarray
    ids: np.ndarray
    class_count: int
    multilabel: bool
    ignore_index: int
    codes: np.ndarray | None = None
    turns: np.ndarray | None = None
    scope: LabelScope | None = None

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
        values = read_mask(path, self.codes)
        if self.turns is not None:
            values = upright_mask(values, int(self.turns[row]))
        check_mask_size(path, values.shape, size)
        if not self.multilabel:
            kind = np.uint8 if 0 <= self.ignore_index <= 255 and self.ids.max(initial=0) <= 255 else np.int32
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
        return limited_to(self.scope, row, mask, self.ignore_index, self.class_count)

    def _ids_of(self, values: np.ndarray) -> np.ndarray:
        """The id of each value."""
        if values.dtype != np.uint8:
            values = np.minimum(values.astype(np.int64), len(self.ids) - 1)
        ids: np.ndarray = self.ids[values]
        return ids

    def _unknown_values(self, path: Path, values: np.ndarray) -> DataError:
        occurring = np.unique(values)
        unknown = occurring[self._ids_of(occurring) == UNKNOWN]
        if self.codes is not None:
            colors = np.unique(color_codes(mask_pixels(path, colored=True)))
            unnamed = [f"#{code:06x}" for code in np.setdiff1d(colors, self.codes)[:5].tolist()]
            return DataError(
                f"{path}: pixels of the color {', '.join(unnamed)}, of no class; name the class of the color"
            )
        return DataError(f"{path}: {describe_values(unknown)} of no class; {self._suggestion(int(unknown[0]))}")

    def _suggestion(self, value: int) -> str:
        known = np.flatnonzero((self.ids >= 0) & (self.ids != self.ignore_index) | (self.ids == NOWHERE))
        if value > HIGHEST:
            return f"classes have {span(known)}, at most {HIGHEST}; save the mask with such numbers"
        return f"classes have {span(known)}; set ignore_index: {value}, or name its class"

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: a mask of another size than the image cannot be read."""
        return {}

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """Always empty: a mask of another size than the image cannot be read."""
        return ""

    def take(self, rows: np.ndarray) -> MaskFileColumn:
        """The column of some images only."""
        turns = None if self.turns is None else self.turns[rows]
        scope = None if self.scope is None else self.scope.take(rows)
        return replace(self, files=self.files[rows], turns=turns, scope=scope)


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


def check_mask_size(path: Path, mask: tuple[int, ...], size: tuple[int, int]) -> None:
    """Checks that a mask has the (height, width) of its image.

    Raises:
        DataError: it has not.
    """
    if mask == size:
        return
    turned = "the image may be turned by its EXIF orientation: turn the mask likewise"
    raise DataError(
        f"{path}: this mask is {mask[0]}x{mask[1]}, but its image is {size[0]}x{size[1]} (height x width); "
        f"{turned if mask[::-1] == size else 'make them equal'}"
    )


def planes_of(ids: np.ndarray, class_count: int, ignore_index: int) -> np.ndarray:
    """Converts class ids (H, W) to a mask for each class, (K, H, W) uint8 of 0 and 1; ignored pixels are ignored in all of them."""
    planes = np.empty((class_count, *ids.shape), dtype=np.uint8)
    np.equal(ids[None], np.arange(class_count)[:, None, None], out=planes.view(bool))
    planes[:, ids == ignore_index] = ignore_index
    return planes
