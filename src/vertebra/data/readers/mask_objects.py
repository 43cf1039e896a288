"""Several mask files of one image: one for each object or for each class.

Read are, in a folder of masks beside the images,

- ``image_01.png``, ``image_02.png`` … and ``image/NAME.png``: a mask for each object;
- ``image_CLASS.png`` and ``CLASS/image.png``: a mask for each class;

and a folder for each image with ``images`` and ``masks`` inside. Objects of one class may overlap. The masks are read when the data
set is opened, and kept as run lengths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import sorted_names
from vertebra.annotations.drawing import patch_runs
from vertebra.annotations.mask_files import mask_pixels
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.files import folders_called, folders_in, images_below, is_image, split_folders
from vertebra.data.readers.mask_files import (
    ENDINGS,
    IMAGE_FOLDERS,
    LIST_FOLDERS,
    MASK_FOLDERS,
    parallel_folders,
)
from vertebra.data.readers.mask_pair_lists import is_mask, is_pair_list, masks_below
from vertebra.data.readers.split_lists import list_files
from vertebra.errors import DataError

OBJECT = "object"
MOST_CLASSES = 100
SHARED = 0.5  # least fraction of images that have masks of their name in each class
THRESHOLD = 128
_NUMBERED = re.compile(r"^[ _.-]*(?:mask|inst|instance|obj|object|seg)?s?[ _.-]*\(?\d+\)?$", re.IGNORECASE)

Masks = list[tuple[Path, list[tuple[str, Path]]]]
"""Images with their masks; each mask has the name of its class, "" for an object."""


@dataclass(frozen=True)
class MaskObjects:
    """The mask files of images with several.

    Attributes:
        masks: by split; the key is "" without splits.
        classes: whether each mask is of a class, not of an object.
        unmatched: the names of masks without an image, by split.
    """

    masks: Mapping[str, Masks]
    classes: bool
    unmatched: Mapping[str, list[str]] = field(default_factory=dict)


def find_objects(path: Path) -> MaskObjects | None:
    """The mask files of a data set in which images have several; None for any other data set."""
    parts = {split: folder for split, folder in split_folders(path).items() if _image_folders_in(folder)}
    of_images = {split: _image_folders_in(folder) for split, folder in (parts or {"": path}).items()}
    if any(of_images.values()):
        return MaskObjects(of_images, classes=False)
    if any(is_pair_list(file) for file in list_files(path, LIST_FOLDERS).values()):
        return None
    parallel = parallel_folders(path)
    for pair, classes in ((_by_class_folder, True), (_by_ending, False)):
        masks = {split: pair(images, folder) for split, (images, folder) in parallel.items() if images != folder}
        if masks and all(masks.values()):
            named = {name for part in masks.values() for _, entries in part for name, _ in entries}
            unmatched = {split: _unmatched(parallel[split][1], part) for split, part in masks.items()}
            return MaskObjects(masks, classes or named != {""}, unmatched) if len(named) <= MOST_CLASSES else None
    return None


def object_annotations(path: Path, objects: MaskObjects, split: str | None, options: ReadOptions) -> Annotations:
    """The objects of mask files, as run lengths.

    Args:
        path: the data set's folder.
        objects: its files.
        split: a key of the files; None for all.
        options: names the only class of objects, if it lists one class.

    Raises:
        DataError: none of the masks can be read.
    """
    parts = dict(objects.masks) if split is None else {split: objects.masks[split]}
    builder = AnnotationBuilder(path, path)
    names = sorted_names({name for part in objects.masks.values() for _, entries in part for name, _ in entries})
    only = _object_name(options)
    for name in names:
        builder.category(Category(name or only))
    damaged: list[DataError] = []
    empty: list[str] = []
    for part, masks in parts.items():
        for image, entries in masks:
            code = SPLITS.index(part) if part else -1
            row = builder.image(image.relative_to(path).as_posix(), split=code)
            for name, file in entries:
                try:
                    mask = _binary(file)
                except DataError as error:
                    damaged.append(error)
                    continue
                if not mask.any():
                    empty.append(file.name)
                else:
                    builder.object(row, name or only, shape=patch_runs([(mask, 0, 0)], mask.shape))
    annotations = builder.build()
    if damaged and not len(annotations.objects):
        raise damaged[0]
    bare = [image.name for masks in parts.values() for image, entries in masks if not entries]
    for noun, which, done, files in (
        ("mask", "that cannot be read", "dropped", [str(e).partition(":")[0].rpartition("/")[2] for e in damaged]),
        ("mask", "without a pixel", "left out", empty),
        ("mask", "without an image", "left out", [name for part in parts for name in objects.unmatched.get(part, ())]),
        ("image", "without a mask", "kept as images with nothing in them", bare),
    ):
        if files:
            annotations.notes.append(Note.of(noun, which, done, files))
    if objects.classes:
        count = len(annotations.objects)
        annotations.notes.append(Note.of("mask", "of one class each", "joined with the others of its image", [], count))
    return annotations


def _unmatched(folder: Path, masks: Masks) -> list[str]:
    """The names of the masks in a folder that are of no image."""
    used = {file for _, entries in masks for _, file in entries}
    return sorted(file.relative_to(folder).as_posix() for file in masks_below(folder) if file not in used)


def _object_name(options: ReadOptions) -> str:
    classes = tuple(name for name in options.classes or () if name != "background")
    return classes[0] if len(classes) == 1 else OBJECT


def _binary(file: Path) -> np.ndarray:
    """(H, W) bool: the pixels of 128 and more; or above 0, if none is so high."""
    values = mask_pixels(file)
    if values.ndim == 3:
        values = values.max(axis=2)
    mask: np.ndarray = values >= THRESHOLD if values.max(initial=0) >= THRESHOLD else values > 0
    return mask


def _image_folders_in(path: Path) -> Masks:
    """The images of folders with ``images`` and ``masks`` inside, one for each image."""
    masks: Masks = []
    for folder in folders_in(path):
        inner, of_masks = folders_called(folder, IMAGE_FOLDERS), folders_called(folder, MASK_FOLDERS)
        if not (inner and of_masks):
            return []
        images = [file for file in inner[0].iterdir() if is_image(file.name)]
        files = [file for file in sorted(of_masks[0].iterdir()) if is_mask(file.name)]
        if len(images) != 1:
            return []
        if len(files) == 1 and files[0].stem == images[0].stem and len(masks) < 2:
            return []
        masks.append((images[0], [("", file) for file in files]))
    return masks if len(masks) > 1 and any(files for _, files in masks) else []


def _by_class_folder(images: Path, masks: Path) -> Masks:
    """Masks in a folder for each class; none unless images of that name lie in no folders."""
    folders = folders_in(masks)
    files = {image.stem: image for image in images_below(images) if image.parent == images}
    if len(folders) < 2 or not files or split_folders(masks):
        return []
    by_class = {folder.name: {mask.stem: mask for mask in masks_below(folder)} for folder in folders}
    if any(len(set(of_class) & set(files)) < min(1, len(of_class)) for of_class in by_class.values()):
        return []
    if sum(len(set(of_class) & set(files)) for of_class in by_class.values()) < SHARED * sum(
        map(len, by_class.values())
    ):
        return []
    return [
        (image, [(name, of_class[stem]) for name, of_class in by_class.items() if stem in of_class])
        for stem, image in files.items()
    ]


def _by_ending(images: Path, masks: Path) -> Masks:
    """Masks called after their image with a number or a class behind it; none if they are called as the image is."""
    stems = {image.relative_to(images).with_suffix("").as_posix(): image for image in images_below(images)}
    files = {mask.relative_to(masks).with_suffix("").as_posix(): mask for mask in masks_below(masks)}
    if any(stem + ending in files for stem in stems for ending in ENDINGS) or not stems:
        return []
    entries: dict[str, list[tuple[str, Path]]] = {stem: [] for stem in stems}
    for key in sorted(files):
        stem = _longest_start(key, stems)
        if stem:
            entries[stem].append((key[len(stem) :], files[key]))
    matched = [ending for each in entries.values() for ending, _ in each]
    if len(matched) < SHARED * len(files) or len(matched) <= len([each for each in entries.values() if each]):
        return []
    named = _ending_names(matched)
    return [(stems[stem], [(named(ending), file) for ending, file in each]) for stem, each in entries.items()]


def _ending_names(endings: Sequence[str]) -> Callable[[str], str]:
    """The class of an ending; "" for all if endings are numbers, or folders for each image."""
    if all(_NUMBERED.match(ending) or ending.startswith("/") for ending in endings):
        return lambda ending: ""
    return lambda ending: ending.strip("_-. /")


def _longest_start(key: str, stems: Mapping[str, Path]) -> str:
    """The longest stem that a name starts with, before a separator; "" if there is none."""
    for match in reversed(list(re.finditer(r"[ _.\-/]", key))):
        if key[: match.start()] in stems:
            return key[: match.start()]
    return ""
