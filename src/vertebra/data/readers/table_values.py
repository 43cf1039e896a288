"""Labels and splits in the cells of a table."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from vertebra.annotations.class_names import sorted_names
from vertebra.annotations.notes import Note
from vertebra.annotations.values import flag
from vertebra.data.readers.table_columns import Roles
from vertebra.data.readers.table_files import Table, cell_text, normal_name
from vertebra.data.splits import split_of
from vertebra.errors import DataError

Labels = list[tuple[str, ...] | None]
LONGEST = 10_000  # characters of a cell with a list
MOST_DIFFERENT = 0.5  # share of rows whose labels may differ from all others
FEW = 20  # rows that may all have different labels
PLURAL = frozenset({"labels", "classes", "categories", "tags", "targets", "findinglabels", "attributeids", "target"})
PARTITION = {"0": "train", "1": "val", "2": "test"}  # of CelebA


def labels_of(table: Table, roles: Roles, notes: list[Note]) -> tuple[Labels, list[str]]:
    """The labels of each row (None where it has none), and all names in order: numbers by size, other names by the alphabet.

    Raises:
        DataError: the column holds measured values, or hardly a label twice.
    """
    if roles.one_hot:
        return _of_bit_columns(table, roles.labels, notes)
    if not roles.labels:
        return [("object",)] * len(table), ["object"]
    column = roles.labels[0]
    cells, title = table.columns[column], table.title(column)
    labels = [_as_list(cell) for cell in cells]
    texts = [label[0] for label in labels if label is not None and len(label) == 1]
    separator = "" if roles.box or roles.runs is not None else _separator(texts, normal_name(title))
    if separator:
        labels = [_divided(label, separator) for label in labels]
        several = sum(label is not None and len(label) > 1 for label in labels)
        shown = "a space" if separator == " " else f"'{separator}'"
        which, done = f"of column '{title}' with several labels", f"divided at {shown}"
        notes.append(Note.of("cell", which, done, [], several))
    labels = [label or None for label in labels]
    names = list(dict.fromkeys(name for label in labels for name in label or ()))
    if not roles.box and roles.runs is None:
        _check_names(names, labels, table, title)
    return labels, sorted_names(names)


def _as_list(cell: Any) -> tuple[str, ...] | None:
    """The labels of a cell that is a list, also one as text; else its text; None if it is empty."""
    if isinstance(cell, (list, tuple)):
        return tuple(text for text in map(cell_text, cell) if text)
    text = cell_text(cell)
    if text[:1] in "[{(" and text[-1:] in "]})" and 2 <= len(text) <= LONGEST:
        for parse in (json.loads, ast.literal_eval):
            try:
                value = parse(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(value, (list, tuple, set)):
                return tuple(item for item in map(cell_text, value) if item)
    return (text,) if text else None


def _separator(texts: Sequence[str], title: str) -> str:
    """What separates several labels of a cell; empty if each cell has one.

    A bar or a semicolon always divides. A comma or a space may be part of a name: it divides if fewer names result than there are
    different cells, a space only in a column whose name is a plural.
    """
    different = set(texts)
    for separator in ("|", ";", ",", " "):
        divided = {part.strip() for text in different for part in text.split(separator)} - {""}
        if not any(separator in text for text in different) or len(divided) < 2:
            continue
        if separator in "|;" or (len(divided) < len(different) and (separator == "," or title in PLURAL)):
            return separator
        if separator == "," and title in PLURAL and len(divided) <= len(different):
            return separator
    return ""


def _divided(label: tuple[str, ...] | None, separator: str) -> tuple[str, ...] | None:
    if label is None:
        return None
    parts = (part.strip() for text in label for part in text.split(separator))
    return tuple(dict.fromkeys(part for part in parts if part))


def _check_names(names: Sequence[str], labels: Labels, table: Table, title: str) -> None:
    filled = [label for label in labels if label]
    if any(re.fullmatch(r"[+-]?\d*[.,]\d*[1-9]\d*", name) for name in names):
        raise DataError(
            f"{table.file}: column '{title}' holds numbers with fractions, which are no classes; name the column of labels: "
            "columns: {label: ...}"
        )
    single = Counter(label for label in filled if len(label) == 1)
    alone = sum(count == 1 for count in single.values())
    if len(filled) > FEW and alone > MOST_DIFFERENT * len(filled):
        raise DataError(
            f"{table.file}: {alone} of the {len(filled)} labels in column '{title}' occur once only, so they are hardly classes; "
            "name the column of labels: columns: {label: ...}"
        )


def _of_bit_columns(table: Table, columns: Sequence[int], notes: list[Note]) -> tuple[Labels, list[str]]:
    """Labels from a column of 0 and 1 for each class."""
    names = [table.title(column) for column in columns]
    texts = [[cell_text(cell).lower() for cell in table.columns[column]] for column in columns]
    occurring = {text for each in texts for text in each}
    uncertain = "-1" in occurring and bool(occurring & {"0", "0.0"})
    marked = [[text in ("1", "1.0", "true") for text in each] for each in texts]
    filled = [any(cells) for cells in zip(*([text != "" for text in each] for each in texts), strict=True)]
    labels: Labels = [
        tuple(name for name, bit in zip(names, bits, strict=True) if bit) if known else None
        for bits, known in zip(zip(*marked, strict=True), filled, strict=True)
    ]
    shown = names if len(names) < 50 else names[:3]
    notes.append(Note.of("column", f"of {table.file.name} with 0 and 1", "read as a class", shown, len(names)))
    if uncertain:
        count = sum(text == "-1" for each in texts for text in each)
        notes.append(Note.of("cell", "of -1 beside 0 and 1", "taken as no", [table.file.name], count))
    return labels, names


def splits_of(table: Table, roles: Roles, notes: list[Note]) -> list[str]:
    """The split of each row by its columns; "" without one."""
    splits = [""] * len(table)
    if roles.split is not None:
        texts = [cell_text(cell) for cell in table.columns[roles.split]]
        title = table.title(roles.split)
        known = {text: split_of(text) or "" for text in set(texts)}
        if set(texts) <= set(PARTITION) and "0" in texts and normal_name(title) != "fold":
            known = PARTITION
            notes.append(Note.of("number", f"in column '{title}'", "read as train, val and test", sorted(set(texts))))
        unknown = [text for text in texts if text and not known[text]]
        if unknown and len(unknown) == sum(map(bool, texts)):
            notes.append(Note.of("value", f"naming no split in column '{title}'", "passed over", unknown))
        elif unknown:
            names = ", ".join(sorted(set(unknown))[:3])
            raise DataError(f"{table.file}: column '{title}' has {names}, which is no split; write train, val or test")
        splits = [known[text] for text in texts]
    for column, part in roles.flags:
        marks = [
            flag(cell if isinstance(cell, (bool, int, float)) else cell_text(cell)) for cell in table.columns[column]
        ]
        splits = [part if mark else split or "train" for mark, split in zip(marks, splits, strict=True)]
    return splits
