"""Finds the columns of a table that hold images, labels, boxes and splits, by their names without case and separators."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vertebra.data.readers.files import is_image
from vertebra.data.readers.table_files import Table, cell_text, normal_name
from vertebra.data.readers.table_runs import runs_column
from vertebra.errors import DataError, suggest

IMAGE = (
    "image", "imagepath", "imgpath", "filepath", "filename", "file", "path", "img", "imagefile", "imagename", "imgname",
    "imagefilename", "imageid", "imgid", "imageindex", "imageurl", "fname", "photo", "picture", "id", "name",
)  # fmt: skip
LABEL = (
    "labelname", "classname", "categoryname", "label", "class", "category", "labels", "classes", "categories", "tags", "tag",
    "target", "targets", "species", "breed", "diagnosis", "findinglabels", "attributeids", "labelid", "classid", "categoryid",
)  # fmt: skip
SPLIT = ("split", "set", "subset", "partition", "datasplit", "dataset", "phase", "fold")
FLAGS = {"isvalid": "val", "isval": "val", "isvalidation": "val", "istest": "test"}
CROWD = ("iscrowd", "isgroupof", "difficult", "isdifficult")
CONFIDENCE = ("confidence",)
SIZE = tuple(itertools.product(("width", "imagewidth", "imgwidth"), ("height", "imageheight", "imgheight")))
SINGLE_BOX = ("xyxy", "xywh", "cxcywh", "bbox", "box", "boundingbox", "bboxes", "boxes", "boundingboxes")
PREFIXES = ("", "bbox", "box", "boundingbox", "roi", "rect")
_SIDES = (("w", "h"), ("width", "height"))
BOXES: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "xyxy": (
        ("xmin", "ymin", "xmax", "ymax"),
        ("x1", "y1", "x2", "y2"),
        ("x0", "y0", "x1", "y1"),
        ("left", "top", "right", "bottom"),
        ("minx", "miny", "maxx", "maxy"),
        ("xtl", "ytl", "xbr", "ybr"),
    ),
    "cxcywh": tuple(
        (*center, *sides)
        for center in (("cx", "cy"), ("xcenter", "ycenter"), ("centerx", "centery"), ("xc", "yc"))
        for sides in _SIDES
    ),
    "xywh": tuple(
        (*corner, *sides)
        for corner in (("x", "y"), ("xmin", "ymin"), ("x1", "y1"), ("left", "top"))
        for sides in _SIDES
    ),
}
ROLES = tuple(
    dict.fromkeys(
        ["image", "label", "split", *(name for each in BOXES.values() for four in each for name in four), *SINGLE_BOX]
    )
)
"""The names that ``columns`` may give to columns."""
MOSTLY = 0.6  # share of cells
_BITS = frozenset({"0", "1", "-1", "0.0", "1.0", "", "true", "false"})


@dataclass(frozen=True)
class Roles:
    """What the columns of a table hold, by number.

    Attributes:
        image: the images' names.
        labels: the column of labels, or one for each class with 0 and 1.
        one_hot: whether there is a column for each class.
        box: four columns, or one with lists of four numbers; empty without boxes.
        convention: "xyxy", "xywh" or "cxcywh"; empty if only the values can show it.
        split: the splits.
        flags: (column, split) of columns that mark the images of a split.
        size: width and height of the image.
        crowd, confidence: of each row.
        runs: the run lengths of an object in each row.
        further: all other columns.
    """

    image: int
    labels: tuple[int, ...] = ()
    one_hot: bool = False
    box: tuple[int, ...] = ()
    convention: str = ""
    split: int | None = None
    flags: tuple[tuple[int, str], ...] = ()
    size: tuple[int, int] | None = None
    crowd: int | None = None
    confidence: int | None = None
    runs: int | None = None
    further: tuple[int, ...] = ()


class MissingColumn(DataError):
    """A column that the user named is not in a table."""


def find_roles(table: Table, are_images: Callable[[Sequence[str]], bool], columns: Mapping[str, str]) -> Roles | None:
    """What the columns hold; None if none holds images, or none labels or boxes.

    Args:
        table: the table.
        are_images: whether any of some names is an image's.
        columns: the column for each of some `ROLES`, as the user gave them.

    Raises:
        MissingColumn: a column that the user named does not exist.
    """
    by_name = named_columns(table, columns)
    image = image_column(table, by_name, are_images, "image" in columns)
    if image is None:
        return None
    runs = runs_column(table)
    box, convention = ((), "") if runs is not None else box_columns(by_name)
    if not box and table.names is None:
        box = _nameless_box(table, image)
    taken = {image, *box, *(() if runs is None else (runs,))}

    def first(names: Sequence[str]) -> int | None:
        return next((by_name[name] for name in names if name in by_name and by_name[name] not in taken), None)

    size = next(
        ((by_name[a], by_name[b]) for a, b in SIZE if {a, b} <= set(by_name) and not {by_name[a], by_name[b]} & taken),
        None,
    )
    taken |= set(size or ())
    crowd, confidence, split = first(CROWD), first(CONFIDENCE), first(SPLIT)
    flags = tuple((by_name[name], part) for name, part in FLAGS.items() if name in by_name)
    taken |= {number for number in (crowd, confidence, split, *(column for column, _ in flags)) if number is not None}
    label = by_name.get("label") if "label" in columns else first(LABEL)
    rest = [number for number in range(len(table.columns)) if number not in taken]
    if label is None and table.names is None and len(rest) == 1:
        label = rest[0]
    one_hot = label is None and not box and runs is None
    labels = (label,) if label is not None else tuple(_bit_columns(table, rest)) if one_hot else ()
    if not labels and not box and runs is None:
        return None
    further = tuple(number for number in rest if number not in labels)
    return Roles(image, labels, one_hot, box, convention, split, flags, size, crowd, confidence, runs, further)


def named_columns(table: Table, columns: Mapping[str, str]) -> dict[str, int]:
    """The column of each normal name; those that the user named come first."""
    titles = [table.title(number) for number in range(len(table.columns))]
    by_name: dict[str, int] = {}
    for role, title in columns.items():
        if role not in ROLES:
            raise DataError(f"columns: '{role}' is no column that is read. {suggest(role, ROLES)}")
        if str(title) not in titles:
            raise MissingColumn(
                f"{table.file}: it has no column '{title}', which columns.{role} names; it has: {', '.join(titles[:12])}"
            )
        by_name[role] = titles.index(str(title))
    used = set(by_name.values())
    for number, title in enumerate(titles):
        if table.names is not None and number not in used:
            by_name.setdefault(normal_name(title), number)
    return by_name


def image_column(
    table: Table, by_name: Mapping[str, int], are_images: Callable[[Sequence[str]], bool], chosen: bool
) -> int | None:
    """The column with the names of images: by its name, or else by its cells."""
    if chosen:
        return by_name["image"]
    named = [by_name[name] for name in IMAGE if name in by_name]
    others = [number for number in range(min(len(table.columns), 20)) if number not in named]
    for number in (*named, *others):
        texts = [cell for cell in map(_name_text, table.columns[number][:200]) if cell]
        names = list(dict.fromkeys(texts))[:20]
        if not names or (number in others and not any(is_image(name.rpartition("/")[2]) for name in names)):
            continue
        if are_images(names):
            return number
    return None


def _name_text(value: Any) -> str:
    return cell_text(value) if isinstance(value, (str, int, float)) else ""


def box_columns(by_name: Mapping[str, int]) -> tuple[tuple[int, ...], str]:
    """The columns of boxes by their names, and their convention if the names show it; empty without boxes."""
    for prefix in PREFIXES:
        for convention, sets in BOXES.items():
            for names in sets:
                if all(prefix + name in by_name for name in names):
                    return tuple(by_name[prefix + name] for name in names), convention
    for name in SINGLE_BOX:
        if name in by_name:
            return (by_name[name],), name if name in BOXES else ""
    return (), ""


def _nameless_box(table: Table, image: int) -> tuple[int, ...]:
    """The four columns of a box in a table without a header: numbers, beside a column of classes."""
    count = len(table.columns)
    numeric = [number for number in range(count) if number != image and _is_numeric(table.columns[number])]
    if count < 6 or len(numeric) not in (4, 5) or numeric[-1] - numeric[0] != len(numeric) - 1:
        return ()
    ids_first = len(numeric) == 5 and numeric[0] == image + 1 and _are_ids(table.columns[numeric[0]])
    start = numeric[0] + ids_first
    return tuple(range(start, start + 4))


def _is_numeric(cells: Sequence[Any]) -> bool:
    """Whether most of the cells that are not empty are numbers."""
    texts = [text for text in map(cell_text, cells[:1000]) if text]
    return sum(map(_is_number, texts)) > MOSTLY * len(texts) or not cells


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _are_ids(cells: Sequence[Any]) -> bool:
    """Whether cells are a few whole numbers, as class ids are."""
    texts = {text for text in map(cell_text, cells[:1000]) if text}
    return all(text.isdecimal() for text in texts) and len(texts) <= max(1, len(cells) // 4)


def _bit_columns(table: Table, numbers: Sequence[int]) -> list[int]:
    """The columns that hold only 0 and 1 (or -1 for no); none unless there are two, with a 1 somewhere."""
    bits = []
    for number in numbers:
        texts = {cell_text(cell).lower() for cell in table.columns[number]}
        if texts <= _BITS and texts - {""}:
            bits.append(number)
    return bits if len(bits) >= 2 else []
