"""Pictures of images with their ground truth and their prediction, and the choice of the images that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vertebra.report.measured import Box, Sides
from vertebra.tasks.picture import open_picture
from vertebra.tasks.task import Task

LARGEST = 440  # pixels of the longer side of a picture
KINDS = ("worst", "typical", "best")
MARK = (255, 0, 160)


def choose_examples(losses: np.ndarray, count: int) -> dict[str, list[int]]:
    """The positions of the images with the largest, the middle and the smallest losses, each image once.

    Args:
        losses: (n,) float; images whose loss is not finite are left out.
        count: how many of each kind, where there are enough images.
    """
    finite = np.flatnonzero(np.isfinite(losses))
    order = finite[np.argsort(-losses[finite], kind="stable")]
    count = min(count, len(order) // len(KINDS)) if len(order) >= len(KINDS) else 0
    if not count:
        return {KINDS[0]: order.tolist()} if len(order) else {}
    middle = (len(order) - count) // 2
    parts = (order[:count], order[middle : middle + count], order[len(order) - count :][::-1])
    return {kind: part.tolist() for kind, part in zip(KINDS, parts, strict=True)}


def spread(count: int, chosen: int) -> list[int]:
    """Positions spread evenly over a number of images."""
    return np.linspace(0, count - 1, min(chosen, count), dtype=int).tolist() if count else []


def draw_sides(task: Task, labels: Any, prediction: Any, ground_truth: Any, path: Path) -> Sides:
    """An image with its ground truth, and with its prediction.

    Raises:
        DataError: it cannot be read.
    """
    picture = open_picture(path)
    return fitted(task.data.draw(ground_truth, labels, picture.copy())), fitted(prediction.draw(picture))


def draw_object(
    task: Task, labels: Any, prediction: Any, ground_truth: Any, path: Path, box: Box | None
) -> Mapping[str, Image.Image]:
    """One object of an image with what is around it, marked in the image, and with its labels and its prediction; the whole image
    with its ground truth if there is no box.

    Raises:
        DataError: the image cannot be read.
    """
    picture = open_picture(path)
    if box is None:
        return {"labels": fitted(task.data.draw(ground_truth, labels, picture))}
    left, top, right, bottom = box
    margin = max(right - left, bottom - top, 24.0)
    window = (
        max(0, int(left - margin)),
        max(0, int(top - margin)),
        min(picture.width, int(right + margin) + 1),
        min(picture.height, int(bottom + margin) + 1),
    )
    if window[2] - window[0] < 2 or window[3] - window[1] < 2:  # the box is outside the image
        return {"labels": fitted(task.data.draw(ground_truth, labels, picture))}
    parts = {
        "labels": enlarged(task.data.draw(ground_truth, labels, picture.copy()), picture.width, window),
        "prediction": enlarged(prediction.draw(picture), picture.width, window),
    }
    scale = max(parts["labels"].size) / max(window[2] - window[0], window[3] - window[1])
    corners = [(value - offset) * scale for value, offset in zip(box, (*window[:2], *window[:2]), strict=True)]
    ImageDraw.Draw(parts["labels"]).rectangle(corners, outline=MARK, width=2)
    return parts


def enlarged(drawn: Image.Image, width: int, window: tuple[int, int, int, int]) -> Image.Image:
    """A window of a drawn picture, at the size of an example.

    Args:
        drawn: the picture, which may be larger than the image, and may have a legend below it.
        width: of the image.
        window: (left, top, right, bottom) in pixels of the image.
    """
    ratio = drawn.width / width
    left, top, right, bottom = window
    scale = LARGEST / 2 / max(right - left, bottom - top)
    return drawn.convert("RGB").resize(
        (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))),
        Image.Resampling.BICUBIC,
        box=(left * ratio, top * ratio, right * ratio, min(bottom * ratio, drawn.height)),
    )


def fitted(picture: Image.Image, largest: int = LARGEST) -> Image.Image:
    """The picture, made smaller so that it fits into a square."""
    small = picture.convert("RGB")
    small.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return small
