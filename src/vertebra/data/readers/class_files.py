"""Files that name the classes of masks: a name a line, or a name with its color."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

from vertebra.annotations.table import Category
from vertebra.data.readers.files import folded_word, lines_of, split_folders
from vertebra.errors import DataError

NAME_FILES = ("classes.txt", "labels.txt", "class_names.txt", "label_list.txt", "codes.txt")
VALUE_FILES = ("_classes.csv", "objectInfo150.txt")  # of Roboflow, and of ADE20K, in which 0 is none of its classes
OTHER = "other"
CITYSCAPES = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
"""The classes of Cityscapes' ``_labelIds.png``, which are in no file of it."""
COLOR_FILES = (
    *("class_dict.csv", "class_colors.csv", "label_colors.csv", "colormap.csv", "color_map.csv", "classes.csv"),
    *("label_colors.txt", "labelmap.txt", "label_map.txt", "class_colors.txt", "colors.txt", "colormap.txt"),
)
FOLDERS = (".", "masks", "labels", "annotations", "SegmentationClass", "ImageSets/Segmentation")
_THREE = re.compile(r"^(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:\s+|,|$)(.*)$")
_BEHIND = re.compile(r"^(.+?)[\s,:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,;]*$")

Entry = tuple[str, tuple[int, int, int]]


def class_names(root: Path) -> tuple[str, ...] | None:
    """The class names of a file beside the masks, a name a line; None if there is no such file.

    Raises:
        DataError: it names no class.
    """
    file = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if file is None:
        return _names_by_value(root) or _names_of_config(root)
    lines = [line.strip() for line in lines_of(file)]
    names = tuple(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise DataError(f"{file}: it names no class; write a name a line, or remove the file")
    return names


def _names_by_value(root: Path) -> tuple[str, ...] | None:
    """The names of a table of values and names, in the data set or the folder of a split; None without one.

    Raises:
        DataError: a value is there twice, or far above the number of names.
    """
    folders = (root, *split_folders(root).values())
    file = next((folder / name for folder in folders for name in VALUE_FILES if (folder / name).is_file()), None)
    if file is None:
        return None
    rows = [line.split("\t" if "\t" in line else ",", maxsplit=-1 if "\t" in line else 1) for line in lines_of(file)]
    named = {int(row[0]): row[-1].strip() for row in rows if row[0].strip().isdecimal() and len(row[0]) < 6}
    if not named:
        return None
    if max(named) > 2 * len(named) + 1:
        raise DataError(
            f"{file}: its values go to {max(named)}, but it has {len(named)} names; write value,name a line"
        )
    short = {value: name.partition(",")[0] for value, name in named.items()}
    unique = short if len(set(short.values())) == len(short) else named
    return tuple(unique.get(value, OTHER if value == 0 else str(value)) for value in range(max(named) + 1))


def _names_of_config(root: Path) -> tuple[str, ...] | None:
    """The names in Mapillary's ``config_v2.0.json``, in the order of the values; None without such a file, or for another one."""
    files = sorted(root.glob("config_v*.json"))
    try:
        content = json.loads(files[-1].read_text(encoding="utf-8")) if files else None
        labels = content.get("labels") if isinstance(content, dict) else None
        return tuple(str(label["readable"]) for label in labels) if labels else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f"{files[-1]}: no list 'labels' with the readable name of each; copy the file again") from None


def class_colors(root: Path) -> tuple[Category, ...] | None:
    """The classes of a file with the color of each; None if there is no such file.

    Read are tables with the columns name, r, g, b; lines ``r g b name``; and CVAT's ``name:r,g,b:parts:actions``.

    Raises:
        DataError: a line has no color, or a color or a name is there twice.
    """
    files = (root / folder / name for folder in FOLDERS for name in COLOR_FILES)
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None
    lines = [line.strip() for line in lines_of(file)]
    entries = _table(file, lines) if file.suffix.lower() == ".csv" else _lines(file, lines)
    categories: dict[str, Category] = {}
    color_of: dict[tuple[int, int, int], str] = {}
    for name, color in entries:
        if max(color) > 255:
            raise DataError(f"{file}: class '{name}' has the color {color}; each of red, green and blue is 0 to 255")
        if name in categories or color in color_of:
            other = (
                f"class '{name}' is there twice" if name in categories else f"'{color_of[color]}' and '{name}' share"
            )
            raise DataError(f"{file}: {other}{'' if name in categories else f' the color {color}'}; keep one of them")
        categories[name] = Category(name, color=color)
        color_of[color] = name
    if not categories:
        raise DataError(f"{file}: it names no class; write name,r,g,b a line, or remove the file")
    return tuple(categories.values())


def _table(file: Path, lines: list[str]) -> list[Entry]:
    """The entries of a table, by its header, or in the order name, red, green, blue."""
    try:
        rows = [row for row in csv.reader(lines, skipinitialspace=True) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{file}: damaged, no table of cells ({error}); copy the file again") from None
    header = [folded_word(cell) for cell in rows[0]] if rows else []
    columns = [
        _column(header, words, rank)
        for rank, words in enumerate((("name", "class", "label"), ("r", "red"), ("g", "green"), ("b", "blue")))
    ]
    has_header = bool(rows) and not any(cell.strip().isdecimal() for cell in rows[0])
    entries = []
    for row in rows[1:] if has_header else rows:
        cells = [row[column].strip() if column < len(row) else "" for column in columns]
        if not cells[0] or not all(cell.isdecimal() and len(cell) < 4 for cell in cells[1:]):
            raise DataError(f"{file}: '{','.join(row)[:60]}' is no class with its color; write name,r,g,b")
        entries.append((cells[0], (int(cells[1]), int(cells[2]), int(cells[3]))))
    return entries


def _column(header: list[str], words: tuple[str, ...], default: int) -> int:
    return next((column for column, cell in enumerate(header) if cell in map(folded_word, words)), default)


def _lines(file: Path, lines: list[str]) -> list[Entry]:
    entries = []
    for line in lines:
        if not line or line.startswith(("#", "//")):
            continue
        entry = next((entry for parse in _PARSERS if (entry := parse(line))), None)
        if entry is None:
            raise DataError(f"{file}: '{line[:60]}' is no class with its color; write 'r g b name' or 'name:r,g,b'")
        entries.append(entry)
    return entries


def _cvat(line: str) -> Entry | None:
    name, _, rest = line.partition(":")
    cells = [cell.strip() for cell in rest.partition(":")[0].split(",")]
    return _entry(name, cells) if ":" in line else None


def _color_first(line: str) -> Entry | None:
    match = _THREE.match(line)
    return _entry(match.group(4), list(match.groups()[:3])) if match else None


def _color_behind(line: str) -> Entry | None:
    match = _BEHIND.match(line)
    return _entry(match.group(1), list(match.groups()[1:])) if match else None


def _entry(name: str, cells: list[str]) -> Entry | None:
    if not name.strip() or len(cells) != 3 or not all(cell.isdecimal() and len(cell) < 4 for cell in cells):
        return None
    return name.strip(), (int(cells[0]), int(cells[1]), int(cells[2]))


_PARSERS: tuple[Callable[[str], Entry | None], ...] = (_cvat, _color_first, _color_behind)
