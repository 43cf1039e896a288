"""Writes mask folders: ``images``, ``masks`` with a PNG file of class numbers for each image, and ``classes.txt``.

Mask files whose values are the class numbers already are copied unchanged. Outlines and run lengths are drawn, larger objects
first, so that smaller ones in front of them stay visible; pixels of no object are of class "background", which comes first if the
data set has no such class.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from vertebra.annotations.notes import Note
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import IGNORED, NO_CLASS, UNKNOWN, Annotations, MaskFiles
from vertebra.data.writers.base import Target, Writer, objects_of, split_rows
from vertebra.data.writers.images import copy_images, image_names, pixel_sizes
from vertebra.data.writers.kinds import category_map, has_runs, without
from vertebra.errors import DataError
from vertebra.shards.members import copy_file
from vertebra.tasks.palette import color

MAX_CLASSES = 255
IGNORED_VALUE = 255
BACKGROUND = "background"
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")


class MasksWriter(Writer):
    """Palette PNG files with the class of each pixel."""

    name = "masks"
    summary = "masks (images, masks of class numbers, classes.txt)"
    reader = "mask_folder"
    holds = frozenset({"masks", "outlines"})
    keeps = frozenset({"not annotated"})

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes a mask for each image that somebody annotated.

        Raises:
            DataError: there are more than 255 classes, or a mask cannot be read.
        """
        notes: list[Note] = []
        names = image_names(annotations, notes, folders="short", by_stem=True, by_split=True)
        folder_of = {
            int(row): f"{split}/" if split else ""
            for split, rows in split_rows(annotations, notes).items()
            for row in rows
        }
        names = [folder_of[row] + name for row, name in enumerate(names)]
        classes = annotations.category_names
        if annotations.masks is None and BACKGROUND not in classes and not _all_covered(annotations):
            classes = (BACKGROUND, *classes)
        _check_classes(classes)
        bare, numbers = np.zeros(len(annotations), dtype=bool), objects_of(annotations)
        drawing = _Drawing(annotations, classes, notes) if annotations.masks is None else None
        copy_images(annotations, [f"images/{name}" for name in names], target)
        for row in target.progress(range(len(annotations)), "masks"):
            stem = target.folder / "masks" / names[row].rpartition(".")[0]
            stem.parent.mkdir(parents=True, exist_ok=True)
            if drawing is not None:
                bare[row] = not annotations.annotated[row]
                if not bare[row]:
                    _save(drawing.mask(row), Path(f"{stem}.png"))
            elif annotations.masks is not None:
                bare[row] = not annotations.masks.files[row]
                if not bare[row]:
                    _bring(annotations, annotations.masks, row, numbers[row], str(stem))
        if bare.any():
            which = "that nobody annotated"
            notes.append(Note.of("image", which, "written without a mask", annotations.names(np.flatnonzero(bare))))
        if drawing is not None:
            drawing.add_notes(notes)
        (target.folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
        return notes


def _all_covered(annotations: Annotations) -> bool:
    """Whether every pixel of all images is of an object, as predictions without a background are; outlines never are."""
    objects, shapes = annotations.objects, annotations.objects.shapes
    if shapes is None or not len(objects) or (np.diff(shapes.outlines_of) > 0).any():
        return False
    return all(_is_covered(shapes, numbers) for numbers in objects_of(annotations))


def _is_covered(shapes: Shapes, numbers: np.ndarray) -> bool:
    sizes = np.unique(shapes.sizes[numbers], axis=0)
    if len(sizes) != 1 or not all(has_runs(shapes, number) for number in numbers.tolist()):
        return False
    size = (int(sizes[0, 0]), int(sizes[0, 1]))
    covered = np.zeros(size, dtype=bool)
    for number in numbers.tolist():
        covered |= shapes.draw(number, size)
    return bool(covered.all())


def _check_classes(classes: tuple[str, ...]) -> None:
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{len(classes)} classes with the background; masks are written with at most {MAX_CLASSES}. Name fewer"
        )
    wrong = [name for name in classes if name != name.strip() or "\n" in name or name.startswith("#") or not name]
    if wrong:
        raise DataError(
            f"a class named {wrong[0]!r} cannot be written to classes.txt, which has a name on each line; rename it"
        )


def _bring(annotations: Annotations, masks: MaskFiles, row: int, numbers: np.ndarray, stem: str) -> None:
    """Writes the mask of an image: a copy if its values are the classes, else a new one."""
    source = masks.root / os.fsdecode(masks.files[row])
    suffix = source.suffix.lower()
    table, count = masks.categories, len(annotations.categories)
    plain = not masks.segments and masks.codes is None and (masks.turns is None or masks.turns[row] <= 1)
    same = plain and (table[:count] == np.arange(count)).all() and table[IGNORED_VALUE] in (IGNORED, UNKNOWN)
    if same and (np.delete(table, np.r_[:count, IGNORED_VALUE]) == UNKNOWN).all() and suffix in _LOSSLESS:
        copy_file(source, Path(f"{stem}{suffix}"))
        return
    ids = category_map(annotations, masks, row, numbers)
    if (ids == UNKNOWN).any() or (ids == NO_CLASS).any():
        raise DataError(f"{source}: it has pixels of no class; name all classes, or set the value of ignored pixels")
    _save(np.where(ids == IGNORED, IGNORED_VALUE, ids), Path(f"{stem}.png"))


def _save(mask: np.ndarray, file: Path) -> None:
    """Writes a mask as a PNG file with a palette."""
    picture = Image.fromarray(mask.astype(np.uint8), mode="P")
    picture.putpalette([value for number in range(256) for value in color(number)])
    picture.save(file)


class _Drawing:
    """Draws the objects of images into masks."""

    def __init__(self, annotations: Annotations, classes: tuple[str, ...], notes: list[Note]) -> None:
        bare = ~annotations.objects.has_shape
        self.annotations = without(annotations, bare, "without an outline or a mask", notes)
        number_of = {name: number for number, name in enumerate(classes)}
        self.values = np.array([number_of[name] for name in annotations.category_names], dtype=np.int64)
        self.background = number_of.get(BACKGROUND, 0)
        self.numbers = objects_of(self.annotations)
        self.sizes = pixel_sizes(annotations, np.arange(len(annotations)))
        self.shapes = self.annotations.objects.shapes or Shapes.none(len(self.annotations.objects))
        self.overlapping: list[str] = []
        self.unfitting: list[str] = []

    def mask(self, row: int) -> np.ndarray:
        """(H, W) uint8, the class of each pixel of an image."""
        objects = self.annotations.objects
        size = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        mask = np.full(size, self.background, dtype=np.uint8)
        covered = np.zeros(size, dtype=bool)
        regions = []
        for number in self.numbers[row].tolist():
            try:
                regions.append((int(self.values[objects.categories[number]]), self.shapes.region(number, size)))
            except DataError:
                self.unfitting.append(self.annotations.name(row))
        for value, region in sorted(regions, key=lambda pair: -pair[1].area):
            drawn = region.mask()
            if (covered & drawn & (mask != value)).any():
                self.overlapping.append(self.annotations.name(row))
            mask[drawn] = value
            covered |= drawn
        return mask

    def add_notes(self, notes: list[Note]) -> None:
        """Adds notes about what was drawn."""
        rows = self.annotations.objects.rows
        if len(rows):
            notes.append(Note.of("object", "", "drawn as pixels of the class", self.annotations.names(rows)))
        for which, done, names in (
            ("in front of an object of another class", "drawn over it", self.overlapping),
            ("whose mask has another size than its image", "left out", self.unfitting),
        ):
            if names:
                notes.append(Note.of("object", which, done, names))
