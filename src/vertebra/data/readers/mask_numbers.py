"""Mask files whose values number the objects of an image from 1, as tools for cells write them; all objects have one class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.connected_components import connected_components
from vertebra.annotations.drawing import patch_runs
from vertebra.annotations.mask_files import mask_pixels, read_mask, upright_mask
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.class_files import class_colors, class_names
from vertebra.data.readers.files import walk
from vertebra.data.readers.mask_files import parallel_folders
from vertebra.data.readers.mask_objects import OBJECT
from vertebra.data.readers.mask_pair_lists import Pairs, is_mask
from vertebra.data.readers.mask_turns import mask_turns
from vertebra.data.readers.voc_objects import BORDER, bounds_of_numbers
from vertebra.errors import DataError

SAMPLED = 4  # masks of a folder that show whether values number objects
SAMPLED_SIDE = 512  # in pixels, of masks in the sample; of larger ones every second or third pixel is read
MIN_CONNECTED = 0.9  # fraction of the numbers that are one connected region each
BACKGROUND = "background"


def numbers_objects(path: Path) -> bool:
    """Whether the masks of a folder seem to number objects: no file names classes, and in a sample of masks nearly every value is
    one connected region, with several in a mask, and not the same values in all masks."""
    if not path.is_dir() or _classes(path):
        return False
    folders = [masks for _, masks in parallel_folders(path).values()]
    sample = [file for folder in folders for file in islice(_files_in(folder), SAMPLED)][:SAMPLED]
    regions: list[np.ndarray] = []
    try:
        for file in sample:
            values = mask_pixels(file)
            if values.ndim == 3:
                return False
            step = -(-max(values.shape) // SAMPLED_SIDE)
            regions.append(_regions_of_values(values[::step, ::step]))
    except DataError:  # a damaged mask is reported when the data set is read
        return False
    values_of = {tuple(each[:, 0].tolist()) for each in regions}
    pieces = np.concatenate([*regions, np.zeros((0, 2), dtype=np.int64)])[:, 1]
    several = len(pieces) > len(regions) and (len(values_of) > 1 or len(regions) == 1)
    return several and float((pieces == 1).mean()) >= MIN_CONNECTED


def numbered_objects(
    root: Path, pairs: Mapping[str, Pairs], split: str | None, where: Path, options: ReadOptions, notes: list[Note]
) -> Annotations:
    """The objects that the values of masks number, as run lengths; the masks are read at once.

    Args:
        root, pairs, split, where, notes: see `vertebra.data.readers.mask_annotations.mask_annotations`.
        options: ``classes`` names the class of all objects; ``ignore_index`` is a value of no object, by default 255 in masks of 8
            bits that do not have 254.

    Raises:
        DataError: a file or the options name several classes; or there is no object, or no mask can be read.
    """
    name = _class_of_all(root, where, options)
    parts = dict(pairs) if split is None else {split: pairs[split]}
    chosen = [(code, *pair) for part, of_part in parts.items() for code in [_code(part)] for pair in of_part]
    turns = mask_turns(root, [image for _, image, _ in chosen], [mask for *_, mask in chosen], notes)
    builder = AnnotationBuilder(root, where)
    builder.category(Category(name))
    damaged: list[DataError] = []
    ignored: list[str] = []
    for row, (code, image, mask) in enumerate(chosen):
        try:
            values = upright_mask(read_mask(root / mask), 1 if turns is None else int(turns[row]))
        except DataError as error:
            damaged.append(error)
            continue
        no_object = options.ignore_index if options.ignore_index is not None else _border_of(values)
        if no_object is not None and (values == no_object).any():
            ignored.append(mask.rpartition("/")[2])
        ids, bounds = bounds_of_numbers(values, no_object)
        number = builder.image(image, split=code)
        for value, (left, top, right, bottom) in zip(ids.tolist(), bounds.astype(int).tolist(), strict=True):
            patch = (values[top:bottom, left:right] == value, left, top)
            builder.object(number, name, shape=patch_runs([patch], values.shape))
    annotations = builder.build() if len(builder) else None
    if annotations is None or not len(annotations.objects):
        none = DataError(f"{where}: its masks number no object; each object needs a value from 1 on")
        raise damaged[0] if damaged else none
    count = len(annotations.objects)
    notes.append(Note.of("value", "of a mask", f"read as an object of class '{name}' each", [], count))
    for noun, which, done, files in (
        ("mask", "that cannot be read", "left out with its image", [_file_of(error) for error in damaged]),
        ("mask", "with pixels of the ignored value", "read without these", ignored),
    ):
        if files:
            notes.append(Note.of(noun, which, done, files))
    annotations.notes[:0] = notes
    return annotations


def _files_in(folder: Path) -> Iterator[Path]:
    for path, inner, names in walk(folder):
        inner.sort()
        yield from (Path(path) / name for name in sorted(names) if is_mask(name))


def _regions_of_values(values: np.ndarray) -> np.ndarray:
    """(m, 2) int64, the values of a mask but 0, and the number of connected regions of each."""
    codes = values.astype(np.int64)
    border = _border_of(values)
    codes[(codes == 0) | (codes == (-1 if border is None else border))] = -1
    regions = connected_components(codes)
    inside = codes >= 0
    pairs = np.unique(np.stack([codes[inside], regions[inside]], axis=1), axis=0)
    return np.stack(np.unique(pairs[:, 0], return_counts=True), axis=1).astype(np.int64)


def _border_of(values: np.ndarray) -> int | None:
    """255 in masks of 8 bits that do not have 254, where it marks borders."""
    return BORDER if values.dtype == np.uint8 and not (values == BORDER - 1).any() else None


def _classes(root: Path) -> Sequence[str]:
    """The classes that a file names, without the background."""
    listed = class_names(root)
    if listed is None:
        listed = tuple(category.name for category in class_colors(root) or ())
    return [name for name in listed if name != BACKGROUND]


def _class_of_all(root: Path, where: Path, options: ReadOptions) -> str:
    asked = [name for name in options.classes or () if name != BACKGROUND]
    names = asked or list(_classes(root))
    if len(names) > 1:
        listed = "'classes' names" if asked else "a file names"
        raise DataError(
            f"{where}: {listed} {len(names)} classes, but masks that number objects have objects of one class; for masks of "
            "classes use task segment"
        )
    return names[0] if names else OBJECT


def _code(split: str) -> int:
    return SPLITS.index(split) if split else -1


def _file_of(error: DataError) -> str:
    return str(error).partition(":")[0].rpartition("/")[2]
