"""What the colors of masks mean: the class of each color, by a file of colors, or a class for each of a few colors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vertebra.annotations.mask_sample import MaskSample
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import IGNORED, NO_CLASS, UNKNOWN, Category
from vertebra.data.readers.mask_meaning import FEW, Meaning, check_count
from vertebra.errors import DataError, suggest

VOID = frozenset({"void", "unlabeled", "ignore", "ignored", "__ignore__"})
BACKGROUND = frozenset({"background", "_background_", "__background__"})


def meaning_of_colors(
    root: Path, named: Sequence[Category] | None, sample: MaskSample, options: ReadOptions, notes: list[Note]
) -> Meaning:
    """The class of each color.

    Args:
        root: the data set's folder.
        named: classes with their colors; None if no file names them.
        sample: of the masks.
        options: the classes that are asked for, and whether they may overlap.
        notes: gets notes about classes.

    Raises:
        DataError: a color has no class, or there are too many colors without names.
    """
    categories = tuple(named) if named is not None else _unnamed(root, sample, options, notes)
    code_of = {category.name: _code(category) for category in categories}
    ignored, empty_class = _passed_over(categories, named is not None, options, notes)
    kept = [category for category in categories if category.name not in ignored | empty_class]
    chosen, unlisted = _listed(root, kept, options, notes)
    check_count(root, len(chosen), options)
    codes = np.array(sorted(code_of.values()), dtype=np.int32)
    table = np.full(len(codes) + 1, UNKNOWN, dtype=np.int32)
    position = {int(code): row for row, code in enumerate(codes)}
    left_out = NO_CLASS if options.multilabel else IGNORED
    for names, value in ((ignored, IGNORED), (empty_class, NO_CLASS), (unlisted, left_out)):
        table[[position[code_of[name]] for name in names]] = value
    for number, category in enumerate(chosen):
        if category.name in code_of:
            table[position[code_of[category.name]]] = number
    _check(sample, position)
    bare = [category.name for category in chosen if code_of.get(category.name, -1) not in sample.colors]
    if bare:
        notes.append(Note.of("class", "that no image has", "kept", bare))
    return Meaning(tuple(chosen), table, codes)


def has_colors_of(sample: MaskSample, named: Sequence[Category]) -> bool:
    """Whether the colors of palettes are those of the classes, so that colors count and not indices."""
    return bool(sample.colors) and set(sample.colors) <= {_code(category) for category in named}


def _unnamed(root: Path, sample: MaskSample, options: ReadOptions, notes: list[Note]) -> tuple[Category, ...]:
    """A class for each color, called by it, darkest first."""
    if options.ignore_index is not None:
        raise DataError(
            f"{root}: masks of colors have no value {options.ignore_index} to ignore; name the class 'void'"
        )
    colors = sorted(sample.colors)
    if len(colors) > FEW:
        loss = (
            "they seem to be saved with loss; save them as PNG"
            if sample.lossy
            else "if they were saved with loss, save them as PNG"
        )
        raise DataError(
            f"{sample.color_file[colors[-1]]}: masks are color pictures of {len(colors)} colors, which nobody named. Write the "
            f"color of each class into {root / 'class_dict.csv'}: name,r,g,b; {loss}"
        )
    names = [f"#{code:06x}" for code in colors]
    notes.append(Note.of("color", "that no file names", "taken as a class called by it", names))
    return tuple(
        Category(name, color=(code >> 16, code >> 8 & 255, code & 255))
        for name, code in zip(names, colors, strict=True)
    )


def _passed_over(
    categories: Sequence[Category], named: bool, options: ReadOptions, notes: list[Note]
) -> tuple[set[str], set[str]]:
    """The classes whose pixels are ignored, and those whose pixels have no class where classes may overlap."""
    asked = set(options.classes or ())
    ignored = {
        c.name for c in categories if named and c.name.lower().replace("ll", "l") in VOID and c.name not in asked
    }
    if ignored:
        notes.append(Note.of("class", "called 'void' or alike", "ignored", sorted(ignored)))
    if not options.multilabel:
        return ignored, set()
    empty = {c.name for c in categories if c.name.lower() in BACKGROUND or (not named and c.color == (0, 0, 0))}
    return ignored, empty - asked


def _listed(
    root: Path, categories: Sequence[Category], options: ReadOptions, notes: list[Note]
) -> tuple[list[Category], list[str]]:
    """The classes in the order of those that are asked for, and the names of the others."""
    if options.classes is None:
        return list(categories), []
    listed = options.classes
    if options.multilabel and len(listed) > 1 and listed[0].lower() in BACKGROUND:
        listed = listed[1:]
    by_name = {category.name: category for category in categories}
    if not set(listed) & set(by_name):
        raise DataError(
            f"{root}: none of the classes of its colors ({', '.join(list(by_name)[:8])}) is among those asked for "
            f"({', '.join(listed[:8])}). {suggest(listed[0], by_name)}"
        )
    unlisted = [name for name in by_name if name not in listed]
    if unlisted:
        notes.append(Note.of("class", "that is not listed", "left out of the masks", unlisted))
    return [by_name.get(name, Category(name)) for name in listed], unlisted


def _check(sample: MaskSample, position: dict[int, int]) -> None:
    unknown = [code for code in sorted(sample.colors) if code not in position]
    if not unknown:
        return
    shown = ", ".join(f"({code >> 16}, {code >> 8 & 255}, {code & 255})" for code in unknown[:3])
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    loss = "; these seem to be masks saved with loss, save them as PNG" if len(unknown) > FEW else ""
    raise DataError(
        f"{sample.color_file[unknown[0]]}: pixels of the color {shown}{more}, which is that of no class; name its class{loss}"
    )


def _code(category: Category) -> int:
    red, green, blue = category.color or (0, 0, 0)
    return red << 16 | green << 8 | blue
