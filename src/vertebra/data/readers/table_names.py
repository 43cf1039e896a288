"""Class names and their order from a table of classes beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.annotations.values import whole_number
from vertebra.data.readers.files import files_of
from vertebra.data.readers.table_files import TEXT_SUFFIXES, cell_text, normal_name, read_table
from vertebra.errors import DataError


def class_names_of(root: Path, labels: Sequence[str], notes: list[Note]) -> tuple[dict[str, str], list[str]]:
    """The name to show for each label, and the labels in order.

    A table ``class…`` or ``…_classes`` of two columns is either "name, number" (keras-retinanet), which orders the labels, or
    "code, name" (Open Images' ``class-descriptions``), which names them.

    Args:
        root: folder of the data set.
        labels: in order, with copies.
        notes: gets a note about a table that is used.
    """
    different = list(dict.fromkeys(labels))
    for file in files_of(root, *TEXT_SUFFIXES):
        if not normal_name(file.stem).startswith("class"):
            continue
        try:
            pairs = _pairs(file)
        except DataError:
            notes.append(Note.of("table", "of classes that cannot be read", "left aside", [file.name]))
            continue
        first, second = dict(pairs), {b: a for a, b in pairs}
        if set(different) <= set(first):
            used = {label: first[label] for label in different}
            numbers = {label: whole_number(value) for label, value in used.items()}
            if all(number is not None for number in numbers.values()):
                notes.append(Note.of("class", "of the tables", "ordered by a table", [file.name], len(different)))
                return {label: label for label in different}, sorted(different, key=lambda label: numbers[label] or 0)
        elif set(different) <= set(second) and all(label.isdecimal() for label in different):
            used = {label: second[label] for label in different}
        else:
            continue
        if len(set(used.values())) == len(used):
            notes.append(Note.of("class", "of the tables", "named by a table", [file.name], len(different)))
            return used, different
    return {label: label for label in different}, different


def _pairs(file: Path) -> list[tuple[str, str]]:
    table = read_table(file)
    if len(table.columns) != 2:
        return []
    pairs = list(zip(*(map(cell_text, column) for column in table.columns), strict=True))
    if table.names is not None:
        pairs.append((table.names[0], table.names[1]))  # Open Images' first row is a class
    return [(a, b) for a, b in pairs]
