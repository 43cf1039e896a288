"""Converts data sets from any format that is read to any that is written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vertebra.annotations.class_names import class_ids, left_out
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import IGNORED, SPLITS, Annotations, Category, MaskFiles
from vertebra.data.open import find_data, readings
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.splits import NoSplit, check_split
from vertebra.data.writers import all_writers
from vertebra.data.writers.base import IMAGE_MODES, Progress, Target, losses, no_progress
from vertebra.data.writers.kinds import without_damaged
from vertebra.errors import ConfigError, DataError, UnknownName
from vertebra.files import os_errors_as_run_errors, temporary_name
from vertebra.keywords import strict_keywords


@strict_keywords
def convert_data(
    path: str | Path,
    to: str,
    out: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    images: str = "copy",
    shard_size: float = 512,
    progress: Progress = no_progress,
) -> list[Note]:
    """Writes a data set in another format: what this can hold without a change, ids, coordinates and order among it.

    Args:
        path: its folder, or its annotation file.
        to: the new format: coco, coco_panoptic, yolo, voc, masks, csv, labelme or tar.
        out: folder of the new data set, which must not exist or be empty; it appears when all is written.
        format: the format of the old data set; None to detect it.
        split: "train", "val" or "test" for the images of one split; None for all.
        classes: names of the classes to keep, in order; None for all.
        images: "copy" for copies of the image files, "link" for hard links, "none" for annotations alone.
        shard_size: largest size of a tar shard in MB.
        progress: wraps the rows of the images, with the name of the step, for a progress bar.

    Returns:
        Counted notes: what the readers handled, and what the new format cannot hold.

    Raises:
        DataError: the data set cannot be read, or the new format cannot hold any of its annotations.
        ConfigError: a format is unknown, or the folder is not empty.
        RunError: the folder cannot be written.
    """
    folder = Path(path)
    if to not in all_writers():
        raise UnknownName("format to write", to, all_writers())
    if images not in IMAGE_MODES:
        raise UnknownName("choice of images", images, IMAGE_MODES)
    check_target(Path(out), folder)
    annotations = load_annotations(folder, format=format, split=split, classes=classes)
    target = Target(Path(out), images, progress, int(shard_size * 1e6))
    return [*annotations.notes, *write_data(annotations, to, target)]


def load_annotations(
    path: Path, *, format: str | None = None, split: str | None = None, classes: Sequence[str] | None = None
) -> Annotations:
    """All annotations of a data set; see `convert_data`.

    Raises:
        DataError: the data set cannot be read, or has no such split.
    """
    data_set = find_data(path, None, format)
    path, reader = data_set.path, all_readers()[data_set.format]
    if not isinstance(reader, AnnotationReader):
        raise DataError(
            f"{path}: the reader of format '{reader.name}' does not load annotations in the form that is converted"
        )
    if split is not None:
        check_split(split)
        available = reader.splits(path)
        if split not in available:
            listed = f"; there is: {', '.join(available)}" if available else "; it has none"
            raise NoSplit(f"{path}: there is no split '{split}'{listed}")
    chosen = None if classes is None else tuple(classes)
    annotations = reader.load(path, split, ReadOptions(chosen))
    if split is not None:
        code = np.int8(SPLITS.index(split))
        annotations = replace(annotations, splits=np.full(len(annotations), code))
    annotations.notes[:0] = data_set.notes
    others = [] if format is not None else [name for name in readings(path, None) if name != reader.name]
    if others:
        done = f"left aside for {reader.name}; choose with format"
        annotations.notes.append(Note.of("other reading", "of these files", done, others))
    return annotations if chosen is None else of_classes(annotations, chosen)


def of_classes(annotations: Annotations, classes: tuple[str, ...]) -> Annotations:
    """The annotations of some classes, in their order; the others are left out with a note.

    Raises:
        DataError: none of them occurs.
    """
    names = annotations.category_names
    if names == classes:
        return annotations
    numbers = class_ids(names, classes, annotations.where)
    objects, labels, masks = annotations.objects, annotations.labels, annotations.masks
    counts = np.bincount(np.concatenate([objects.categories, labels[:, 1]]), minlength=len(names)).tolist()
    unlisted = {name: count for name, count, number in zip(names, counts, numbers.tolist(), strict=True) if number < 0}
    objects = objects.take(numbers[objects.categories] >= 0)
    known = {category.name: category for category in annotations.categories}
    return replace(
        annotations,
        categories=tuple(known.get(name, Category(name)) for name in classes),
        objects=replace(objects, categories=numbers[objects.categories]),
        labels=np.stack([labels[:, 0], numbers[labels[:, 1]]], axis=1)[numbers[labels[:, 1]] >= 0],
        masks=None if masks is None else _of_numbers(masks, numbers),
        scope=None if annotations.scope is None else annotations.scope.renumbered(numbers, len(classes)),
        notes=[*annotations.notes, *left_out(unlisted, "annotation")],
    )


def _of_numbers(masks: MaskFiles, numbers: np.ndarray) -> MaskFiles:
    """Mask files whose classes have new numbers; pixels of those below 0 are ignored."""
    table = masks.categories.copy()
    known = table >= 0
    table[known] = np.where(numbers[table[known]] >= 0, numbers[table[known]], IGNORED)
    return replace(masks, categories=table)


def write_data(annotations: Annotations, to: str, target: Target) -> list[Note]:
    """Writes annotations with their images as a data set.

    The folder appears when all is written; after an error nothing is left.

    Args:
        annotations: of the data set.
        to: a format's name, as `vertebra.data.writers.all_writers` has it.
        target: where and how.

    Returns:
        Notes about what the format cannot hold.

    Raises:
        DataError: the format cannot hold any of the annotations, or an image does not exist.
        ConfigError: the folder is not empty.
        RunError: the folder cannot be written.
    """
    writer = all_writers()[to]
    check_target(target.folder)
    kinds = annotations.kinds
    drawn = {"boxes"} if kinds & {"outlines", "points"} else set()  # boxes can be derived from these
    if kinds and not (kinds | drawn) & writer.holds:
        raise DataError(
            f"{annotations.where}: it has {' and '.join(sorted(kinds))}, but {to} holds {' and '.join(sorted(writer.holds))}; "
            f"use {' or '.join(name for name, other in all_writers().items() if kinds & other.holds)}"
        )
    if not annotations.categories or not len(annotations):
        missing = "image" if not len(annotations) else "class"
        raise DataError(f"{annotations.where}: it has no {missing}, so there is nothing to write")
    notes: list[Note] = []
    sound = without_damaged(annotations, notes)
    notes += losses(sound, writer)
    folder = target.folder.absolute()
    with os_errors_as_run_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = temporary_name(folder.parent, "")
        part.mkdir()
        try:
            notes += writer.write(sound, replace(target, folder=part))
            if folder.is_dir():
                folder.rmdir()
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return notes


def check_target(out: Path, source: Path | None = None) -> None:
    """Checks that a data set can be written to a folder.

    Raises:
        ConfigError: the folder is not empty, is a file, or is inside of the data set that is read.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: a file, and a folder is needed; choose another name")
    if out.is_dir() and next(out.iterdir(), None) is not None:
        raise ConfigError(f"{out}: this folder is not empty, and nothing is overwritten; choose another name")
    if source is not None and source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"{out}: it is inside of the data set {source}; choose a folder outside of it")
