"""Objects in pixels from YOLO's lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Objects
from vertebra.data.readers.yolo_lines import BOX, OUTLINE, POINTS, Lines, Meaning, outlines_of, usable_lines
from vertebra.errors import DataError

ORIENTED = 9  # values of a line with four corners
VISIBLE = 2.0


def yolo_objects(
    lines: Lines,
    meaning: Meaning,
    names: Mapping[int, str],
    sizes: np.ndarray,
    name_of: Sequence[str],
    where: Path,
    notes: list[Note],
) -> Objects:
    """The objects of all usable lines, in their order.

    Args:
        lines: of the data set.
        meaning: of the lines.
        names: class names by id.
        sizes: (n, 2) (height, width) of the images.
        name_of: the label file of each image.
        where: the data set, for messages.
        notes: gets notes about what was dropped, and about how lines are read.

    Raises:
        DataError: coordinates are in pixels, or class ids count from 1.
    """
    usable = usable_lines(lines, meaning, name_of, notes)
    ids = np.zeros(len(lines), dtype=np.int64)
    ids[usable] = np.minimum(lines.values[lines.offsets[:-1]][usable], 2.0**31).astype(np.int64)
    _check_ids(ids[usable], names, where)
    unknown = usable & ~np.isin(ids, list(names))
    if unknown.any():
        which = f"of class ids that have no name (there are {len(names)} names)"
        notes.append(Note.of("line", which, "dropped", [f"id {number}" for number in ids[unknown].tolist()]))
    kept = np.flatnonzero(usable & ~unknown)
    lines, ids = lines.take(kept), ids[kept]
    meaning = replace(meaning, kinds=meaning.kinds[kept], scored=meaning.scored[kept])
    _note_kinds(lines, meaning, name_of, notes)
    points, point_offsets = _points(lines, meaning, sizes, name_of, notes)
    return Objects(
        rows=lines.rows,
        categories=_categories_of(ids, names),
        boxes=_boxes(lines, meaning, sizes),
        shapes=_shapes(lines, meaning, sizes),
        points=points,
        point_offsets=point_offsets,
        crowd=np.zeros(len(lines), dtype=bool),
        areas=np.full(len(lines), np.nan),
        attributes=_attributes(lines, meaning),
    )


def _check_ids(ids: np.ndarray, names: Mapping[int, str], where: Path) -> None:
    """Refuses ids that count from 1."""
    highest = max(names, default=-1)
    if len(ids) and ids.min() == 1 and ids.max() == highest + 1 and len(names) == highest + 1:
        raise DataError(
            f"{where}: the class ids go from 1 to {highest + 1}, but they count from 0 and there are {len(names)} names; "
            "subtract 1 from each id, or put the name of id 0 first"
        )


def _categories_of(ids: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    """(L,) the category of each id; ids of one name have the same."""
    positions = {name: position for position, name in enumerate(dict.fromkeys(names.values()))}
    table = np.full(max(names, default=-1) + 1, -1, dtype=np.int64)
    table[list(names)] = [positions[name] for name in names.values()]
    categories: np.ndarray = table[ids]
    return categories


def _note_kinds(lines: Lines, meaning: Meaning, name_of: Sequence[str], notes: list[Note]) -> None:
    """Notes about how lines of more than five values are read."""
    outlined = meaning.kinds == OUTLINE
    values = lines.counts - meaning.scored
    if outlined.any():
        oriented = bool((values[outlined] == ORIENTED).all())
        which = "with a class and four corners" if oriented else "with a class and the corners of an outline"
        done = "read as outlines"
        if oriented:
            done += " (oriented boxes); boxes are the upright ones around them, task rotated_boxes keeps the angles"
        notes.append(Note.of("line", which, done, [name_of[row] for row in lines.rows[outlined].tolist()]))
        boxed = meaning.kinds == BOX
        if boxed.any():
            rows = lines.rows[boxed].tolist()
            notes.append(
                Note.of("line", "with a box among outlines", "read as boxes only", [name_of[row] for row in rows])
            )
    pointed = meaning.kinds == POINTS
    if pointed.any() and meaning.guessed:
        count, each = meaning.point_shape
        which = f"of a box and {count} points of {each} values, by the numbers alone"
        done = "read as points; set kpt_shape in data.yaml"
        notes.append(Note.of("line", which, done, [name_of[row] for row in lines.rows[pointed].tolist()]))
    if meaning.scored.any():
        rows = lines.rows[meaning.scored].tolist()
        which = "with a further value at the end, as predictions have"
        notes.append(Note.of("line", which, "read with it as an attribute", [name_of[row] for row in rows]))


def _scale(lines: Lines, sizes: np.ndarray) -> np.ndarray:
    """(L, 2) width and height of each line's image."""
    scale: np.ndarray = sizes[lines.rows][:, ::-1].astype(np.float64)
    return scale


def _boxes(lines: Lines, meaning: Meaning, sizes: np.ndarray) -> np.ndarray:
    boxes = np.full((len(lines), 4), np.nan)
    boxed = np.flatnonzero(meaning.kinds != OUTLINE)
    shares, scale = lines.take(boxed).columns(1, 5), _scale(lines, sizes)[boxed]
    center, sides = shares[:, :2] * scale, shares[:, 2:] * scale
    boxes[boxed] = np.concatenate([center - sides / 2, center + sides / 2], axis=1)
    return boxes


def _shapes(lines: Lines, meaning: Meaning, sizes: np.ndarray) -> Shapes | None:
    outlined = np.flatnonzero(meaning.kinds == OUTLINE)
    if not len(outlined):
        return None
    offsets, values = outlines_of(lines, meaning, outlined)
    scale = np.repeat(_scale(lines, sizes)[outlined], np.diff(offsets) // 2, axis=0)
    none, no_runs = np.zeros(len(lines) + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return Shapes(
        points=values * scale.reshape(-1),
        outlines=offsets,
        outlines_of=np.concatenate([[0], np.cumsum(meaning.kinds == OUTLINE)]).astype(np.int64),
        runs=no_runs,
        runs_of=none,
        text=np.zeros(0, dtype=np.uint8),
        text_of=none,
        sizes=np.zeros((len(lines), 2), dtype=np.int32),
    )


def _points(
    lines: Lines, meaning: Meaning, sizes: np.ndarray, name_of: Sequence[str], notes: list[Note]
) -> tuple[np.ndarray, np.ndarray]:
    """(P, 3) points of all lines in pixels with their visibility, and their offsets (L + 1,)."""
    pointed = meaning.kinds == POINTS
    count, values = meaning.point_shape
    offsets = np.concatenate([[0], np.cumsum(pointed * count)]).astype(np.int64)
    if not pointed.any():
        return np.zeros((0, 3)), offsets
    some = lines.take(pointed)
    shares = some.columns(5, 5 + count * values).reshape(-1, count, values)
    points = np.full((len(some), count, 3), VISIBLE)
    points[..., :2] = shares[..., :2] * _scale(some, sizes)[:, None]
    if values == 3:
        flags = shares[..., 2]
        odd = ~np.isin(flags, (0, 1, 2))
        points[..., 2] = np.where(odd, np.where(flags > 0, VISIBLE, 0), flags)
        which, done = "with a visibility other than 0, 1 and 2", "taken as visible where it is positive"
    else:
        odd = (shares == 0).all(axis=2)
        points[..., 2] = np.where(odd | (shares < 0).any(axis=2), 0, VISIBLE)
        which, done = "at 0, 0", "taken as not labeled"
    if odd.any():
        notes.append(Note.of("point", which, done, [name_of[row] for row in some.rows[np.nonzero(odd)[0]].tolist()]))
    points[points[..., 2] == 0, :2] = 0
    return points.reshape(-1, 3), offsets


def _attributes(lines: Lines, meaning: Meaning) -> tuple[Mapping[str, Any], ...] | None:
    """The last value of lines that have one more: a confidence, or the number of a track."""
    if not meaning.scored.any():
        return None
    last = lines.values[lines.offsets[1:] - 1]
    name = "confidence" if last[meaning.scored].max() <= 1 else "track_id"
    pairs = zip(last.tolist(), meaning.scored.tolist(), strict=True)
    return tuple({name: value} if scored else {} for value, scored in pairs)
