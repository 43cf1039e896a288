"""Finds the columns of points in a table: ``nose_x, nose_y``, ``x_nose, y_nose``, ``x1, y1, x2, y2, x3, y3 …``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vertebra.data.readers.table_columns import BOXES, PREFIXES
from vertebra.data.readers.table_files import Table, cell_text, normal_name

_LAST = re.compile(r"(.*?)[\s_.\-]*(x|y|v|visible|visibility)", re.IGNORECASE | re.DOTALL)
_FIRST = re.compile(r"(x|y|v|visible|visibility)[\s_.\-]*(.*)", re.IGNORECASE | re.DOTALL)
ALONE = "point"  # name of the point in columns x and y
FEWEST_NUMBERED = 3  # pairs x1, y1, x2, y2 are a box
SAMPLED = 200


@dataclass(frozen=True)
class PointColumns:
    """The columns of points.

    Attributes:
        names: of the points.
        x, y: column of each point.
        visible: column of each point's visibility; None without one.
    """

    names: tuple[str, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]
    visible: tuple[int | None, ...]


def has_points(table: Table) -> bool:
    """Whether a table has columns of points."""
    return find_points(table) is not None


def find_points(table: Table) -> PointColumns | None:
    """The columns of points; None if there are none."""
    if table.names is None:
        return None
    boxes = _box_columns(table.names)
    for pattern, name_group in ((_LAST, 1), (_FIRST, 2)):
        axes: dict[str, dict[str, int]] = {}
        for number, title in enumerate(table.names):
            match = pattern.fullmatch(title.strip())
            if match:
                axis = match.group(3 - name_group).lower()[0]
                axes.setdefault(match.group(name_group).strip(), {}).setdefault(axis, number)
        pairs = {name: each for name, each in axes.items() if "x" in each and "y" in each}
        numbered = [name for name in pairs if name.isdecimal()]
        usable = {
            name: each
            for name, each in pairs.items()
            if (len(numbered) >= FEWEST_NUMBERED and name in numbered) or not {each["x"], each["y"]} & boxes
        }
        usable = {name: each for name, each in usable.items() if all(_numeric(table, each[axis]) for axis in "xy")}
        if _are_bits(table, [each[axis] for each in usable.values() for axis in "xy"]):
            continue
        if usable and not (len(usable) == len(numbered) < FEWEST_NUMBERED and numbered == list(usable)):
            return PointColumns(
                tuple(name or ALONE for name in usable),
                tuple(each["x"] for each in usable.values()),
                tuple(each["y"] for each in usable.values()),
                tuple(each.get("v") for each in usable.values()),
            )
    return _alternating(table)


def _box_columns(titles: Sequence[str]) -> set[int]:
    """The columns that are a box by their names."""
    numbers = {normal_name(title): number for number, title in enumerate(titles)}
    sets = [[prefix + name for name in four] for prefix in PREFIXES for each in BOXES.values() for four in each]
    return {numbers[name] for four in sets if all(name in numbers for name in four) for name in four}


def _numeric(table: Table, column: int) -> bool:
    texts = [text for text in map(cell_text, table.columns[column][:SAMPLED]) if text]
    try:
        list(map(float, texts))
    except ValueError:
        return False
    return True


def _alternating(table: Table) -> PointColumns | None:
    """Columns "0", "1", "2" …, x and y in turn."""
    names = table.names or ()
    columns = [number for number, name in enumerate(names) if name.isdecimal()]
    expected = [str(number) for number in range(len(columns))]
    if len(columns) < 2 * FEWEST_NUMBERED or len(columns) % 2 or [names[number] for number in columns] != expected:
        return None
    if _are_bits(table, columns) or not all(_numeric(table, number) for number in columns):
        return None
    points = tuple(str(number) for number in range(len(columns) // 2))
    return PointColumns(points, tuple(columns[::2]), tuple(columns[1::2]), (None,) * len(points))


def _are_bits(table: Table, columns: Sequence[int]) -> bool:
    """Whether columns hold only 0 and 1, as those of classes do."""
    texts = {cell_text(cell) for number in columns for cell in table.columns[number][:SAMPLED]}
    return texts <= {"", "0", "1", "-1"}
