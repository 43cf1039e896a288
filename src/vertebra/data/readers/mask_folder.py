"""Mask folders: an index or palette PNG for each image.

Pairs are read from list files (``train.txt`` with "image mask" on each line), parallel folders (``images`` and ``masks``,
each with or without a folder for each split inside, or inside each split's folder), or a split's folder with the folder of
its masks beside it (``train`` and ``trainannot``).

Classes are those listed by the user, else those of ``classes.txt`` (one name on each line, in the order of the mask values),
else the values that occur, each named by its number. Listed classes are matched by name if any of them is in
``classes.txt``; otherwise they name the mask values in their order.

Masks of 0 and 255 are binary: 255 is class 1. With exclusive classes,
value v is class v, 0 included. With ``multilabel: true`` value 0 is none of the classes, and value v is class v - 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_files import HIGHEST, describe_values, mask_values, span
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.annotations.table import IGNORED, NO_CLASS, SPLITS, UNKNOWN, Annotations, Category, MaskFiles, Objects
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import lines_of
from vertebra.data.readers.mask_files import find_pairs, looks_like
from vertebra.errors import DataError

MAX_OVERLAPPING = 255  # keeps the value 255 free for ignored pixels
CLASS_FILES = ("classes.txt", "labels.txt")

MISSING = -1


class MaskFolderReader(AnnotationReader):
    """Images with masks."""

    name = "mask_folder"
    summary = "masks (images and masks folders, or train.txt with 'image mask' lines)"
    holds = frozenset({"masks"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder, or a list file, has images with masks."""
        return looks_like(path)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that have a list or a folder."""
        return tuple(name for name in find_pairs(path, []) if name)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The mask files of a split, and the category of each mask value.

        Raises:
            DataError: there is no pair of image and mask, or a mask has a value of no class.
        """
        notes: list[Note] = []
        root = path if path.is_dir() else path.parent
        pairs = find_pairs(path, notes)
        parts = pairs if split is None else {split: pairs[split]}
        chosen = [pair for part in parts.values() for pair in part]
        if not chosen:
            raise DataError(f"{path}: no pair of image and mask in split '{split or 'train'}'")
        all_masks = [root / mask for part in pairs.values() for _, mask in part]
        categories, table, ignore_index = _categories(
            root, [root / mask for _, mask in chosen], all_masks, options, notes
        )
        count = len(chosen)
        codes = [SPLITS.index(name) if name else -1 for name, part in parts.items() for _ in part]
        return Annotations(
            root=root,
            images=path_column([image for image, _ in chosen]),
            categories=tuple(Category(name) for name in categories),
            objects=Objects.none(),
            labels=np.zeros((0, 2), dtype=np.int64),
            masks=MaskFiles(root, path_column([mask for _, mask in chosen]), table, ignore_index),
            annotated=np.ones(count, dtype=bool),
            sizes=np.zeros((count, 2), dtype=np.int64),
            where=path,
            splits=np.array(codes, dtype=np.int8) if any(parts) else None,
            notes=notes,
        )


def _categories(
    root: Path, masks: Sequence[Path], all_masks: Sequence[Path], options: ReadOptions, notes: list[Note]
) -> tuple[tuple[str, ...], np.ndarray, int]:
    """The class names, the number of the class of each mask value (see `MaskFiles`), and the ignored class number.

    Args:
        root: the data set's folder.
        masks: of the split.
        all_masks: of all splits; whether 255 is a class or ignored depends on all, since a split may lack a class.
        options: the classes that are asked for, and whether they may overlap.
        notes: gets notes about classes.
    """
    listed = _listed(root)
    by_name = bool(set(listed or ()) & set(options.classes or ()))
    classes = listed if by_name else options.classes or listed
    values = mask_values(masks if classes else all_masks)
    _check_highest(values)
    occurring = values | mask_values(all_masks) if classes and set(values) <= {0, 255} else values
    names, numbers, ignored = _meaning(occurring, classes, options, root)
    unlisted: list[int] = []
    if by_name:
        names, numbers, unlisted = _listed_classes(names, numbers, options, notes)
    elif listed and options.classes:
        renamed = [f"{old} to {new}" for old, new in zip(listed, options.classes, strict=False)]
        which = "renamed in the order of the classes that are asked for"
        notes.append(Note.of("class", "of the data set", which, renamed))
    if options.multilabel and len(names) > MAX_OVERLAPPING:
        raise DataError(
            f"{root}: {len(names)} classes; at most {MAX_OVERLAPPING} may overlap. Set multilabel: false, or name fewer"
        )
    table = _table(numbers, ignored, max(values, default=0), options.multilabel, unlisted)
    _check(values, table, numbers)
    empty = [name for name, number in zip(names, numbers, strict=True) if number not in values]
    if empty:
        notes.append(Note.of("class", "that no image has", "kept", empty))
    return names, table, 255 if len(names) <= 255 else 65535


def _meaning(
    values: Collection[int], listed: tuple[str, ...] | None, options: ReadOptions, path: Path
) -> tuple[tuple[str, ...], list[int], int | None]:
    """The meaning of mask values: the class names, the mask value of each class, and the ignored value, if any."""
    if listed is not None and options.multilabel and listed[0] == "background" and len(listed) > 1:
        listed = listed[1:]
    fits = listed is None or len(listed) == (2 if not options.multilabel else 1)
    if 255 in values and set(values) <= {0, 255} and options.ignore_index != 255 and fits:
        names = listed or (("background", "foreground") if not options.multilabel else ("foreground",))
        return names, [0, 255][-len(names) :], options.ignore_index
    ignored = 255 if options.ignore_index is None else options.ignore_index
    first = 0 if not options.multilabel else 1
    if listed is None:
        listed = tuple(str(value) for value in sorted(values) if value >= first and value != ignored)
        if not listed:
            raise DataError(f"{path}: its masks hold only {', '.join(map(str, values))}, so there is no class in them")
    numbers = [_number(name) for name in listed]
    if None not in numbers:
        return listed, [number for number in numbers if number is not None], ignored
    return listed, list(range(first, first + len(listed))), ignored


def _number(name: str) -> int | None:
    """The mask value of a class name that is a number; None for other names, including numbers too large for a mask (a barcode)."""
    short = name.isdecimal() and len(name) <= len(str(HIGHEST))
    return int(name) if short and int(name) <= HIGHEST else None


def _listed_classes(
    names: Sequence[str], numbers: Sequence[int], options: ReadOptions, notes: list[Note]
) -> tuple[tuple[str, ...], list[int], list[int]]:
    """The listed classes, the mask value of each (`MISSING` for a class that the data set does not have), and the values of the
    other classes.

    Args:
        names, numbers: the data set's classes and their values.
        notes: gets notes about classes that are left out.
    """
    listed = options.classes or ()
    if options.multilabel and listed[0] == "background" and len(listed) > 1:
        listed = listed[1:]
    value_of = dict(zip(names, numbers, strict=True))
    unlisted = [name for name in names if name not in listed]
    if unlisted:
        notes.append(Note.of("class", "that is not listed", "left out of the masks", unlisted))
    return listed, [value_of.get(name, MISSING) for name in listed], [value_of[name] for name in unlisted]


def _table(
    numbers: Sequence[int], ignored: int | None, highest: int, multilabel: bool, unlisted: Sequence[int] = ()
) -> np.ndarray:
    """The class of each mask value: (V,) int32, see `MaskFiles`; the last entry is for all larger values.

    Pixels of ``unlisted`` values, of classes that are not listed, are ignored, or have no class if classes may overlap.
    """
    table = np.full(max(256, highest, *numbers, *unlisted) + 2, UNKNOWN, dtype=np.int32)
    if multilabel:
        table[0] = NO_CLASS
    table[list(unlisted)] = NO_CLASS if multilabel else IGNORED
    for class_id, number in enumerate(numbers):
        if number != MISSING:
            table[number] = class_id
    if ignored is not None and 0 <= ignored < len(table) - 1:
        table[ignored] = IGNORED
    return table


def _check_highest(values: dict[int, Path]) -> None:
    highest = max(values, default=0)
    if highest > HIGHEST:
        raise DataError(
            f"{values[highest]}: it holds the value {highest}, but masks hold class numbers from 0 to {HIGHEST}; save it "
            "with such numbers"
        )


def _check(values: dict[int, Path], ids: np.ndarray, numbers: Sequence[int]) -> None:
    unknown = [value for value in values if ids[value] == UNKNOWN]
    if unknown:
        raise DataError(
            f"{values[unknown[0]]}: {describe_values(np.array(unknown))} of no class; classes have "
            f"{span(np.array(numbers))}. Set ignore_index: {unknown[0]}, or name its class"
        )


def _listed(root: Path) -> tuple[str, ...] | None:
    """The class names of a file beside the masks, if there is one."""
    for name in CLASS_FILES:
        file = root / name
        if file.is_file():
            lines = [line.strip() for line in lines_of(file)]
            names = tuple(line for line in lines if line and not line.startswith("#"))
            if not names:
                raise DataError(f"{file}: it names no class; write a name a line, or remove the file")
            return names
    return None
