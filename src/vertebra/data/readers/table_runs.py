"""Run lengths in the cells of a table, as Kaggle's competitions have them: pairs of the first pixel, from 1, and the length.

Pixels are counted down the columns, or along the rows; the run lengths themselves show which, since the runs of an object lie
beside each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.drawing import MAX_PIXELS, patch_runs
from vertebra.annotations.notes import Note
from vertebra.annotations.segmentations import Segmentation
from vertebra.data.readers.table_files import Table, cell_text, normal_name
from vertebra.errors import DataError

RUN_COLUMNS = ("encodedpixels", "rle", "rles", "rlemask", "maskrle", "annotation", "segmentation", "mask")
NOTHING = ("", "-1")  # cells of images without an object
SAMPLED = 200
LARGEST = 1 << 40  # the number of a pixel
_PAIRS = re.compile(r"\d+ \d+( \d+ \d+)*")
_TWO_IN_ONE = re.compile(r"(image.*)_(class.*)", re.IGNORECASE)


def runs_column(table: Table) -> int | None:
    """The column of run lengths by its name and its cells; None without one."""
    for number, name in enumerate(table.names or ()):
        texts = [text for cell in table.columns[number][:SAMPLED] if (text := cell_text(cell)) not in NOTHING]
        runs = [pairs for text in texts if (pairs := parse_runs(text)) is not None]
        if normal_name(name) in RUN_COLUMNS and texts and len(runs) > len(texts) // 2:
            return number
    return None


def parse_runs(text: str) -> np.ndarray | None:
    """(R, 2) int64 first pixel, from 1, and length of each run; None for a text that is no ascending run lengths."""
    if _PAIRS.fullmatch(text) is None:
        return None
    try:
        pairs = np.array(text.split(), dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError):  # a number of too many digits
        return None
    starts, ends = pairs[:, 0], pairs.sum(axis=1)
    fits = pairs.min() >= 1 and pairs.max() < LARGEST and (starts[1:] >= ends[:-1]).all()
    return pairs if fits else None


def divided_names(table: Table) -> Table:
    """A table of run lengths with a column ``ImageId_ClassId`` as two, ``ImageId`` and ``ClassId``; others as they are."""
    if runs_column(table) is None:
        return table
    for number, name in enumerate(table.names or ()):
        match = _TWO_IN_ONE.fullmatch(name)
        parts = [cell_text(cell).rpartition("_") for cell in table.columns[number]]
        if match is not None and parts and all(image and label for image, _, label in parts):
            names, columns = list(table.names or ()), list(table.columns)
            names[number : number + 1] = match.groups()
            columns[number : number + 1] = [[image for image, _, _ in parts], [label for _, _, label in parts]]
            return replace(table, names=tuple(names), columns=columns)
    return table


def add_runs(
    table: Table,
    column: int,
    names: Sequence[str | None],
    of_rows: np.ndarray,
    sizes: np.ndarray,
    builder: AnnotationBuilder,
) -> None:
    """Adds an object for each cell of run lengths.

    Args:
        table: with the cells.
        column: of the run lengths.
        names: the class of each row; None without one.
        of_rows: (n,) the image of each row, -1 without one.
        sizes: (n, 2) width and height of the image of each row.
        builder: gets the objects, and notes.

    Raises:
        DataError: most run lengths leave their images, so that they are of other images or another form.
    """
    objects = []
    wrong, bare, empty = [], [], 0
    for number, (cell, name, row) in enumerate(zip(table.columns[column], names, of_rows.tolist(), strict=True)):
        text = cell_text(cell)
        pairs = parse_runs(text)
        if row < 0:
            continue
        if pairs is not None and name is None:
            bare.append(builder.name_of(row))
        elif pairs is not None and pairs[-1].sum() - 1 <= int(sizes[number].prod()):
            objects.append((row, str(name), pairs, (int(sizes[number, 1]), int(sizes[number, 0]))))
        elif text in NOTHING:
            empty += 1
        else:
            wrong.append(builder.name_of(row))
    if len(wrong) > len(objects):
        raise DataError(
            f"{table.file}: {len(wrong)} cells in column '{table.title(column)}' are no run lengths 'first length first length' of "
            f"their images, the first is of {wrong[0]}"
        )
    along_rows = _are_along_rows([(pairs, size) for _, _, pairs, size in objects])
    for row, name, pairs, size in objects:
        builder.object(row, name, shape=_shape(pairs, size, along_rows))
    how = "along the rows" if along_rows else "down the columns"
    for which, done, dropped, count in (
        (f"of run lengths in column '{table.title(column)}'", f"read as pixels counted {how}", [], len(objects)),
        ("of run lengths that are not of their image", "dropped", wrong, len(wrong)),
        ("of run lengths without a class", "dropped", bare, len(bare)),
        ("without run lengths", "read as no object", [], empty),
    ):
        if count:
            builder.notes.append(Note.of("cell", which, done, dropped, count))


def _are_along_rows(objects: Sequence[tuple[np.ndarray, tuple[int, int]]]) -> bool:
    """Whether the runs of objects follow each other at the distance of an image's width rather than of its height."""
    down = along = 0
    for pairs, (height, width) in objects:
        steps = np.diff(pairs[:, 0])
        near = max(1, min(height, width) // 8)
        down += int((np.abs(steps - height) < near).sum()) if height != width else 0
        along += int((np.abs(steps - width) < near).sum()) if height != width else 0
    return along > down


def _shape(pairs: np.ndarray, size: tuple[int, int], along_rows: bool) -> Segmentation:
    """Run lengths down the columns, as COCO has them.

    Raises:
        DataError: the image is too large.
    """
    height, width = size
    edges = np.stack([pairs[:, 0] - 1, pairs.sum(axis=1) - 1], axis=1).ravel()
    if not along_rows:
        return Segmentation(runs=np.diff(edges, prepend=0, append=height * width).astype(np.int64), size=size)
    if height * width > MAX_PIXELS:
        raise DataError(f"run lengths of an image of {height}x{width} pixels; at most {MAX_PIXELS} are read")
    marks = np.zeros(height * width + 1, dtype=np.int8)
    np.add.at(marks, edges[::2], 1)
    np.add.at(marks, edges[1::2], -1)
    mask = np.cumsum(marks[:-1], dtype=np.int8).reshape(height, width).astype(bool)
    return patch_runs([(mask, 0, 0)], size)
