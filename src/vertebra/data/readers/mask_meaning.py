"""What the values of masks mean: the class of each number.

Classes are those listed by the user, else those of ``classes.txt`` (one name on each line, in the order of the mask values),
else the values that occur, each named by its number. Listed classes are matched by name if any of them is in
``classes.txt``; otherwise they name the mask values in their order.

Masks of 0 and 255 are binary: 255 is class 1. With exclusive classes, value v is class v, 0 included. With ``multilabel: true``
value 0 is none of the classes, and value v is class v - 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_files import HIGHEST, describe_values, span
from vertebra.annotations.mask_sample import MaskSample, sample_masks, soft_pixels
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import IGNORED, NO_CLASS, UNKNOWN, Category
from vertebra.errors import DataError

MAX_OVERLAPPING = 255  # keeps the value 255 free for ignored pixels
FEW = 8  # values that may be classes of their own though nobody named them
MANY = 64  # values that may be if they are consecutive, as in most masks of classes
FILLED = 0.7  # least fraction of the numbers up to the highest that consecutive values have
MISSING = -1
BINARY = ("background", "foreground")


@dataclass(frozen=True, eq=False)
class Meaning:
    """The classes of masks.

    Attributes:
        categories: in their order.
        table: (V,) int32, the category of each mask value, see `vertebra.annotations.table.MaskFiles`.
        codes: colors of color pictures, see `vertebra.annotations.mask_files.read_mask`; None for masks of numbers.
    """

    categories: tuple[Category, ...]
    table: np.ndarray
    codes: np.ndarray | None = None

    @property
    def ignore_index(self) -> int:
        """The class number of ignored pixels."""
        return 255 if len(self.categories) <= 255 else 65535


def meaning_of_numbers(
    root: Path,
    listed: tuple[str, ...] | None,
    masks: Sequence[Path],
    whole: MaskSample,
    options: ReadOptions,
    notes: list[Note],
) -> Meaning:
    """The class of each mask value.

    Args:
        root: the data set's folder.
        listed: the data set's names of classes.
        masks: of the split.
        whole: sample of the masks of all splits; whether 255 is a class or ignored depends on all, since a split may lack a class.
        options: the classes that are asked for, and whether they may overlap.
        notes: gets notes about classes.

    Raises:
        DataError: a value has no class, or too many values have no name.
    """
    by_name = bool(set(listed or ()) & set(options.classes or ()))
    classes = listed if by_name else options.classes or listed
    sample = sample_masks(masks) if classes else whole
    _check_highest(sample.file_of)
    soft = _softened(root, classes, whole, options, notes)
    if soft is not None:
        return soft
    names, numbers, ignored = _meaning(
        whole if set(sample.counts) <= {0, 255} else sample, classes, options, root, notes
    )
    unlisted: list[int] = []
    if by_name:
        names, numbers, unlisted = _listed_classes(names, numbers, options, notes)
    elif listed and options.classes:
        renamed = [f"{old} to {new}" for old, new in zip(listed, options.classes, strict=False)]
        which = "renamed in the order of the classes that are asked for"
        notes.append(Note.of("class", "of the data set", which, renamed))
    check_count(root, len(names), options)
    table = _table(numbers, ignored, max(sample.counts, default=0), options.multilabel, unlisted)
    _check(sample, table, numbers)
    empty = [name for name, number in zip(names, numbers, strict=True) if number not in sample.counts]
    if empty:
        notes.append(Note.of("class", "that no image has", "kept", empty))
    return Meaning(tuple(Category(name) for name in names), table)


def check_count(root: Path, count: int, options: ReadOptions) -> None:
    """Refuses more overlapping classes than a byte holds."""
    if options.multilabel and count > MAX_OVERLAPPING:
        raise DataError(
            f"{root}: {count} classes; at most {MAX_OVERLAPPING} may overlap. Set multilabel: false, or name fewer"
        )


def without_background(names: tuple[str, ...], options: ReadOptions) -> tuple[str, ...]:
    """Class names; without the background, which has no class, where classes may overlap."""
    return names[1:] if options.multilabel and len(names) > 1 and names[0] == "background" else names


def _softened(
    root: Path, classes: tuple[str, ...] | None, sample: MaskSample, options: ReadOptions, notes: list[Note]
) -> Meaning | None:
    """The meaning of binary masks of 0 and 255 with other values at their borders; None for other masks.

    Raises:
        DataError: masks that were saved with loss and are not binary.
    """
    stray = [value for value in sample.counts if value not in (0, 255)]
    found = soft_pixels(sample) if stray else None
    names = without_background(classes or BINARY, options) if classes or not options.multilabel else BINARY[1:]
    needed = 1 if options.multilabel else 2
    if found is not None and len(names) == needed and options.ignore_index is None:
        pixels, files = found
        which = "other than 0 and 255, at soft or lossy borders of masks,"
        done = "taken as 0 below 128, else as 255"
        notes.append(Note.of("pixel", which, done, [file.name for file in files], pixels))
        table = np.full(257, 0 if not options.multilabel else NO_CLASS, dtype=np.int32)
        table[128:256] = len(names) - 1
        table[256] = UNKNOWN
        return Meaning(tuple(Category(name) for name in names), table)
    if (stray and sample.lossy) or (found is not None and classes):
        first = sample.file_of[stray[0]]
        raise DataError(
            f"{first}: {describe_values(np.array(stray))}; these seem to be masks saved with loss (as JPEG, or resized with "
            f"soft edges), in which class numbers cannot be distinguished; save them as PNG with whole numbers, "
            f"or name two classes for masks of 0 and 255 (here: {len(names)})"
        )
    return None


def _meaning(
    sample: MaskSample, listed: tuple[str, ...] | None, options: ReadOptions, path: Path, notes: list[Note]
) -> tuple[tuple[str, ...], list[int], int | None]:
    """The meaning of mask values: the class names, the mask value of each class, and the ignored value, if any."""
    values: Collection[int] = sample.counts
    if listed is not None:
        listed = without_background(listed, options)
    fits = listed is None or len(listed) == (2 if not options.multilabel else 1)
    if 255 in values and set(values) <= {0, 255} and options.ignore_index != 255 and fits:
        names = listed or (BINARY if not options.multilabel else BINARY[1:])
        return names, [0, 255][-len(names) :], options.ignore_index
    ignored = 255 if options.ignore_index is None else options.ignore_index
    first = 0 if not options.multilabel else 1
    if listed is None:
        numbered = [value for value in sorted(values) if value >= first and value != ignored]
        if not numbered:
            raise DataError(f"{path}: its masks hold only {', '.join(map(str, values))}, so there is no class in them")
        _check_unnamed(numbered, sample.file_of, notes)
        listed = tuple(map(str, numbered))
    numbers = [_number(name) for name in listed]
    if None not in numbers:
        return listed, [number for number in numbers if number is not None], ignored
    return listed, list(range(first, first + len(listed))), ignored


def _check_unnamed(values: Sequence[int], file_of: Mapping[int, Path], notes: list[Note]) -> None:
    """Refuses more values without a name than are likely to be classes; a note about many of them.

    Raises:
        DataError: there are more than `FEW`, and they are not consecutive, or more than `MANY`.
    """
    if len(values) <= FEW:
        return
    if len(values) > MANY or len(values) < FILLED * (values[-1] + 1 - values[0]):
        last = values[-1]
        raise DataError(
            f"{file_of[last]}: its masks hold {len(values)} values that nobody named ({span(np.array(values))}). Name the classes "
            "in classes.txt, a name a line in the order of the values, or with 'classes'; if the masks are of one object, "
            "save them as PNG with 0 and 255"
        )
    notes.append(Note.of("class", "that no file names", "named by the values in the masks", [str(v) for v in values]))


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
    listed = without_background(options.classes or (), options)
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


def _check_highest(file_of: Mapping[int, Path]) -> None:
    highest = max(file_of, default=0)
    if highest > HIGHEST:
        raise DataError(
            f"{file_of[highest]}: it holds the value {highest}, but masks hold class numbers from 0 to {HIGHEST}; save it "
            "with such numbers"
        )


def _check(sample: MaskSample, ids: np.ndarray, numbers: Sequence[int]) -> None:
    unknown = [value for value in sample.counts if ids[value] == UNKNOWN]
    if unknown:
        raise DataError(
            f"{sample.file_of[unknown[0]]}: {describe_values(np.array(unknown))} of no class; classes have "
            f"{span(np.array(numbers))}. Set ignore_index: {unknown[0]}, or name its class"
        )
