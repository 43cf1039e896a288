"""Pictures of the images of a data set with their annotations, before and after augmentation, and a sheet of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from vertebra.cpus import usable_cpus
from vertebra.data.analysis.small_images import read_small
from vertebra.data.canvas import measured_canvas
from vertebra.data.check.open_splits import OpenedSplit
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.errors import DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment
from vertebra.report.example_pictures import fitted
from vertebra.report.seen_images import draw_sample
from vertebra.tasks import all_image_level, get_task
from vertebra.tasks.picture import fit_text, write

TILE = (
    432  # pixels of the longer side of a picture; of photographs the shorter one then needs no enlarging to be drawn on
)
CAPTION = 26
MARGIN = 8
TEXT = 14
PAPER, INK, CARD = (32, 34, 40), (236, 238, 242), (18, 20, 24)


@dataclass(frozen=True)
class Shown:
    """An image that is shown.

    Attributes:
        split, name: where it is from; the name is its path in the data set.
        picture: with its annotations.
        augmented: as training may show it; None where this was not asked for.
        classes: names of the classes in it, by task.
    """

    split: str
    name: str
    picture: Image.Image
    augmented: Image.Image | None
    classes: Mapping[str, tuple[str, ...]]


def pictures(
    opened: OpenedSplit, rows: Sequence[int], *, augmented: bool, seed: int = 0, largest: int = TILE
) -> Iterator[Shown]:
    """Some images of a split with the annotations of all its tasks; those that cannot be read are left out.

    Args:
        augmented: whether to also show them as training does, with the default augmentation.
        seed: of the augmentation.
        largest: pixels of the longer side of the pictures.
    """
    augmenter = _Augmenter(opened, seed, largest) if augmented and rows else None

    def shown(row: int) -> Shown | None:
        try:
            picture, classes = _drawn(opened, row, largest)
            changed = None if augmenter is None else fitted(augmenter.picture(row), largest)
        except DataError:
            return None  # named by the findings
        return Shown(opened.name, opened.name_of(row), fitted(picture, largest), changed, classes)

    with ThreadPoolExecutor(max(1, usable_cpus())) as pool:
        yield from (each for each in pool.map(shown, rows) if each is not None)


def chosen_rows(opened: OpenedSplit, count: int, seed: int = 0) -> list[int]:
    """Images to show: at random, with as many classes among them as there can be."""
    order = np.random.default_rng([seed, len(opened)]).permutation(len(opened))
    for task, index in opened.indices.items():
        strata = index.strata(task)
        presence = strata > 0 if strata.ndim == 2 else strata[:, None] == np.unique(strata)
        order = order[_novelty_order(presence[order])]
        break
    return sorted(order[:count].tolist())


def _novelty_order(presence: np.ndarray) -> np.ndarray:
    """Positions (n,) int64, first those in which a class occurs for the first time.

    Args:
        presence: (n, K) bool, the classes of each image.
    """
    first = np.zeros(len(presence), dtype=bool)
    first[presence.argmax(axis=0)[presence.any(axis=0)]] = True
    order: np.ndarray = np.argsort(~first, kind="stable")
    return order


def _drawn(opened: OpenedSplit, row: int, largest: int) -> tuple[Image.Image, dict[str, tuple[str, ...]]]:
    """The image, made small, with the annotations of the task that shows most, and the classes in it by task."""
    small = read_small(opened.images.path(row), largest)
    picture = Image.fromarray(small.image)
    classes: dict[str, tuple[str, ...]] = {}
    fitting = ResizeSpec(small.image.shape[:2], "resize")
    transform = fitting.transform(*small.size)
    for task in sorted(opened.indices, key=lambda name: get_task(name).image_level):
        index = opened.indices[task]
        if not index.columns[task].labeled[row]:
            continue
        data, labels = get_task(task).data, index.labels[task]
        annotation = index.columns[task].get(row, small.size)
        if not classes:  # further tasks would cover what the first one shows
            picture = data.draw(data.to_canvas(annotation, fitting, transform, labels), labels, picture)
        occurring = np.flatnonzero(data.occurrences(annotation, labels.class_count))
        classes[task] = tuple(labels.classes[number] for number in occurring.tolist())
    return picture, {task: classes[task] for task in opened.indices if task in classes}


class _Augmenter:
    """Shows images of a split as training does.

    Args:
        opened: the split.
        seed: of the augmentation.
        longest: pixels of the longer side of the canvas.
    """

    def __init__(self, opened: OpenedSplit, seed: int, longest: int) -> None:
        self.opened = opened
        tasks = sorted(opened.indices, key=lambda name: get_task(name).image_level)[:1]
        self.labels = {task: opened.indices[task].labels[task] for task in tasks}
        sources = [Source(opened.indices[task], {task: task}) for task in tasks]
        size, _ = measured_canvas([opened.indices[task] for task in tasks], tasks, longest=longest)
        resize = ResizeSpec(size, "center_crop" if all_image_level(tasks) else "letterbox")
        augment = Augment.preset("default")
        self.data = MixedData(sources, self.labels, resize, augment, seed=seed, reduced_decoding=True)

    def picture(self, row: int) -> Image.Image:
        """The image on the canvas, with its annotations.

        Raises:
            DataError: it cannot be used.
        """
        return draw_sample(self.data[SampleKey(0, row, 0, row)], self.labels)[1]


def contact_sheet(shown: Sequence[Shown], columns: int = 6) -> Image.Image:
    """One picture of several images with their names; augmented ones at the right of their originals.

    Raises:
        DataError: there is nothing to show.
    """
    if not shown:
        raise DataError("no image can be shown: none of those chosen can be read")
    tiles = [tile for each in shown for tile in _tiles(each)]
    across = min(columns, len(tiles))
    if shown[0].augmented is not None:
        across = max(2, across // 2 * 2)
    lines = [tiles[first : first + across] for first in range(0, len(tiles), across)]
    heights = [max(picture.height for picture, _ in line) + CAPTION for line in lines]
    width = max(picture.width for picture, _ in tiles)
    sheet = Image.new("RGB", (across * (width + MARGIN) + MARGIN, sum(heights) + (len(lines) + 1) * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for line, height in zip(lines, heights, strict=True):
        for number, (picture, text) in enumerate(line):
            left = MARGIN + number * (width + MARGIN)
            draw.rectangle((left, top, left + width - 1, top + height - 1), fill=CARD)
            sheet.paste(picture, (left + (width - picture.width) // 2, top))
            write(draw, (left + 6, top + height - CAPTION / 2), fit_text(text, TEXT, width - 12), TEXT, INK)
        top += height + MARGIN
    return sheet


def _tiles(shown: Shown) -> Iterator[tuple[Image.Image, str]]:
    yield shown.picture, f"{shown.split}  {shown.name.rpartition('/')[2]}"
    if shown.augmented is not None:
        yield shown.augmented, f"augmented  {shown.name.rpartition('/')[2]}"
