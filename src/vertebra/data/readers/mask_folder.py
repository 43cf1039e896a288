"""Mask folders: a mask file for each image, or one for each object or class of an image.

Pairs are read from list files (``train.txt`` with "image mask" on each line), parallel folders (``images`` and ``masks``, or
``img_dir`` and ``ann_dir``, each with or without a folder for each split inside, or inside each split's folder), or a split's
folder with the folder of its masks beside it (``train`` and ``trainannot``). Names of folders are matched without case, in singular
and plural. See `mask_meaning` for masks of numbers, `class_files` for the names and colors of classes, and `mask_objects` for
several masks of one image. Tasks of objects read masks whose values number objects, see `mask_numbers`.
"""

from __future__ import annotations

from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.class_files import CITYSCAPES
from vertebra.data.readers.known_layouts import known_layout
from vertebra.data.readers.mask_annotations import mask_annotations
from vertebra.data.readers.mask_files import find_pairs, looks_like
from vertebra.data.readers.mask_numbers import numbered_objects, numbers_objects
from vertebra.data.readers.mask_objects import find_objects, object_annotations
from vertebra.data.splits import NoSplit

MASKS = frozenset({"masks"})
OUTLINES = frozenset({"outlines"})


class MaskFolderReader(AnnotationReader):
    """Images with masks."""

    name = "mask_folder"
    summary = "masks (images and masks folders, or train.txt with 'image mask' lines)"
    suffixes = (".png", ".jpg", ".npy", ".mat")
    holds = MASKS | OUTLINES

    def looks_like(self, path: Path) -> bool:
        """Whether a folder, or a list file, has images with masks."""
        masks = looks_like(path) or (path.is_dir() and find_objects(path) is not None)
        return masks and not known_layout(path)

    def kinds_in(self, path: Path) -> frozenset[str]:
        """Outlines where each object has a mask file, else masks; both where their values seem to number objects."""
        objects = find_objects(path) if path.is_dir() else None
        if objects is not None:
            return MASKS if objects.classes else OUTLINES
        return MASKS | OUTLINES if numbers_objects(path) else MASKS

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that have a list or a folder."""
        objects = find_objects(path) if path.is_dir() else None
        return tuple(name for name in (objects.masks if objects else find_pairs(path, [])) if name)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The mask files of a split, and the category of each mask value; or the objects of mask files of one object or class."""
        return self.load_for(path, split, options, MASKS)

    def load_for(self, path: Path, split: str | None, options: ReadOptions, kinds: frozenset[str]) -> Annotations:
        """The mask files of a split, and the category of each mask value; or the objects of mask files of one object or class, or
        those that the values of masks number, where outlines are asked for and masks are not.

        Raises:
            DataError: there is no pair of image and mask, or a mask has a value of no class.
        """
        objects = find_objects(path) if path.is_dir() else None
        if objects is not None:
            return object_annotations(path, objects, split, options)
        notes: list[Note] = []
        root = path if path.is_dir() else path.parent
        pairs = find_pairs(path, notes)
        if split is not None and split not in pairs:
            raise NoSplit(f"{path}: there is no split '{split}'")
        if kinds & OUTLINES and not kinds & MASKS:
            return numbered_objects(root, pairs, split, path, options, notes)
        of_cityscapes = all(Path(mask).stem.endswith("_labelIds") for part in pairs.values() for _, mask in part)
        return mask_annotations(root, pairs, split, path, options, notes, CITYSCAPES if of_cityscapes else None)
