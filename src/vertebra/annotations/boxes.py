"""Cleaning of boxes: those without area or outside of their image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note, plural
from vertebra.errors import DataError

TOLERANCE = 1.0
FARTHEST = 1e9  # maximum coordinate in pixels if the image's size is unknown


def check_pixels(positions: np.ndarray, noun: str, where: Path | str) -> None:
    """Checks that boxes, points or outlines are in pixels.

    Args:
        positions: of all of them, nan for missing ones.
        noun: what they are, in the singular.

    Raises:
        DataError: all are from 0 to 1, and are not whole numbers.
    """
    low, high = np.nanmin(positions, initial=0), np.nanmax(positions, initial=0)
    if low >= 0 and 0 < high <= 1 and (np.mod(positions[~np.isnan(positions)], 1) != 0).any():
        raise DataError(
            f"{where}: all {plural(noun)} are from 0 to 1; these seem to be shares of the image. Multiply x by its width and y by "
            "its height: they are expected in pixels"
        )


def clean_boxes(
    rows: np.ndarray, boxes: np.ndarray, sizes: np.ndarray, name_of: Callable[[int], str]
) -> tuple[np.ndarray, np.ndarray, list[Note]]:
    """Removes boxes without area and boxes outside their image, and clips the others to their image.

    Args:
        rows: (B,) int64, the image of each box.
        boxes: (B, 4) xyxy.
        sizes: (n, 2) (height, width) of each image in the annotations, 0 where it is missing.
        name_of: returns the file name of an image, for messages.

    Returns:
        The boxes to keep (B,) bool, the clipped boxes (B, 4) float32, and notes.
    """
    notes: list[Note] = []
    kept = np.ones(len(boxes), dtype=bool)

    def drop(wrong: Any, which: str) -> None:
        dropped = np.flatnonzero(np.asarray(wrong) & kept)
        if len(dropped):
            notes.append(Note.of("box", which, "dropped", [name_of(row) for row in rows[dropped]]))
            kept[dropped] = False

    boxes = boxes.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # infinity minus infinity, in boxes that are dropped next
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    drop(~np.isfinite(boxes).all(axis=1), "with a side that is no number")
    drop((width < 0) | (height < 0), "with left and right or top and bottom in reverse")
    drop((width == 0) | (height == 0), "of zero area")
    image_sides = sizes[rows][:, [1, 0, 1, 0]].astype(np.float64)
    limit = np.where(image_sides > 0, image_sides, FARTHEST)
    drop(((boxes >= limit)[:, :2] | (boxes <= 0)[:, 2:]).any(axis=1), "outside of the image")
    beyond = np.maximum(-boxes, boxes - limit).max(axis=1, initial=0)
    reaching = np.flatnonzero(kept & (beyond > TOLERANCE))
    if len(reaching):
        names = [name_of(row) for row in rows[reaching]]
        notes.append(Note.of("box", "reaching out of the image", "clipped", names))
    return kept, np.clip(boxes, 0, limit).astype(np.float32), notes
