"""Image folders: a folder's name is the class (``cat/1.jpg``), inside ``train``, ``val`` and ``test`` if there are splits.

Images in folders below a class folder have its class, too. Folders that are plainly something else are refused: those called
``images``, ``labels`` or ``masks``, and images that lie in the folders of the splits themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import class_ids, left_out, shorten, sorted_names
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import (
    any_below,
    files_below,
    folded_word,
    folders_in,
    has_yolo_labels,
    images_below,
    is_image,
    walk,
)
from vertebra.data.readers.mask_files import BESIDE
from vertebra.data.splits import split_of
from vertebra.errors import DataError

IMAGE_WORDS = frozenset(
    map(folded_word, ("images", "imgs", "img_dir", "JPEGImages", "photos", "pictures", "data", "frames"))
)
OTHER_WORDS = frozenset(
    map(
        folded_word,
        (
            *("labels", "masks", "annotations", "annots", "ann", "ann_dir", "ImageSets", "SegmentationClass"),
            *("SegmentationObject", "xmls", "ground_truth", "gt", "trimaps", "segmentations", "bboxes", "labelTxt"),
        ),
    )
)
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
TABLES = (".csv", ".tsv", ".parquet", ".jsonl")


class ImageFolderReader(AnnotationReader):
    """Class folders."""

    name = "image_folder"
    summary = "class folders of images"
    suffixes = (".jpg", ".jpeg", ".png")
    holds = frozenset({"labels"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder has class folders with images, and is not plainly of another format."""
        if not path.is_dir() or has_yolo_labels(path):
            return False
        return any(_has_image(folder) for folder in _class_folders(path)) and not self.refusal(path)

    def refusal(self, path: Path) -> str:
        """Why the folders of a data set are no classes, and which path was probably meant."""
        if not path.is_dir():
            return ""
        folders = [folder for folder in _class_folders(path) if _has_image(folder)]
        names = sorted({folder.name for folder in folders})
        words = {folded_word(name) for name in names}
        if not words:
            return ""
        table = next((file.name for file in sorted(path.iterdir()) if _is_table(file)), "")
        beside = f"; the classes may be in {table}" if table else ""
        if (words <= IMAGE_WORDS | OTHER_WORDS and words & IMAGE_WORDS) or (words <= OTHER_WORDS and len(words) > 1):
            return f"its folders {shorten(names)} are no classes{_meant(folders)}{beside}"
        beside_splits = {name for name in names if any(name == first + ending for first in names for ending in BESIDE)}
        if not _split_folders(path) and all(split_of(name) for name in names if name not in beside_splits):
            return f"its folders {shorten(names)} are splits, and their images lie in no folders of classes{beside}"
        inside = table or next((file.name for file in files_below(folders[0], _is_table_name)), "")
        if inside and len(names) == 1:
            return f"its only folder {names[0]} is no class; the classes may be in {inside}"
        inner = [below for folder in folders for below in folders_in(folder)]
        deeper = bool(inner) and all(folded_word(below.name) in IMAGE_WORDS for below in inner)
        if deeper and not any(_direct_image(folder) for folder in folders):
            return f"the classes lie deeper than in its folders {shorten(names)}{_meant(inner)}"
        return ""

    def splits(self, path: Path) -> tuple[str, ...]:
        """The folders named as splits."""
        return tuple(_split_folders(path))

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The images of the class folders; those of classes that are not listed are left out.

        Raises:
            DataError: there is no class folder, or no image, or the folders are plainly no classes.
        """
        refusal = self.refusal(path)
        if refusal:
            raise DataError(f"{path}: {refusal}")
        parts = _split_folders(path)
        names = sorted_names({folder.name for part in parts.values() or [path] for folder in folders_in(part)})
        if not names:
            raise DataError(f"{path}: no class folders; put the images of each class in a folder of its name")
        listed = dict(zip(names, class_ids(names, options.classes or names, path).tolist(), strict=True))
        builder = AnnotationBuilder(path, path)
        for name in names:
            builder.category(Category(name))
        skipped: dict[str, int] = {}
        for part, folder in parts.items() if parts and split is None else [(split or "", parts.get(split or "", path))]:
            files = {inner.name: images_below(inner) for inner in folders_in(folder)}
            if not any(files.values()):
                raise DataError(f"{folder}: no image in its class folders {', '.join(files)}")
            builder.notes += _not_images([inner for inner in folders_in(folder) if listed[inner.name] >= 0])
            for name, images in files.items():
                if listed[name] < 0:
                    skipped[name] = skipped.get(name, 0) + len(images)
                    continue
                for image in images:
                    code = SPLITS.index(part) if part else -1
                    builder.label(builder.image(image.relative_to(path).as_posix(), split=code), name)
            builder.notes += _loose(folder)
        builder.notes[:0] = left_out(skipped, "image")
        builder.notes += [*_entered(path, parts), *(_loose(path) if parts else [])]
        return builder.build()


def _loose(folder: Path) -> list[Note]:
    """A note about images beside the class folders."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and is_image(entry.name))
    return [Note.of("image", "beside the class folders", "left out", names)] if names else []


def _not_images(folders: Sequence[Path]) -> list[Note]:
    """A note about files in class folders that are no images, as those of formats that are not read."""
    names = [
        name
        for folder in folders
        for _, _, files in walk(folder)
        for name in files
        if not (is_image(name) or name.startswith(".") or name.lower() in SYSTEM_FILES)
    ]
    return [Note.of("file", "of a class folder that is no image", "left out", sorted(names))] if names else []


def _entered(path: Path, parts: Mapping[str, Path]) -> list[Note]:
    """Notes about doubled folders of splits, and about folders beside them."""
    doubled = [folder.relative_to(path).as_posix() for folder in parts.values() if folder.parent != path]
    used = {folder.relative_to(path).parts[0] for folder in parts.values()}
    others = (
        [folder.name for folder in folders_in(path) if folder.name not in used and _has_image(folder)] if parts else []
    )
    notes = []
    if doubled:
        notes.append(Note.of("folder", "of a split, alone in one of the same split,", "taken for the split", doubled))
    if others:
        notes.append(Note.of("folder", "beside those of the splits", "left out", others))
    return notes


def _class_folders(path: Path) -> list[Path]:
    return [folder for part in (_split_folders(path).values() or [path]) for folder in folders_in(part)]


def _split_folders(path: Path) -> dict[str, Path]:
    """The folders of the splits; empty if the sub-folders are the classes."""
    folders: dict[str, Path] = {}
    for folder in folders_in(path):
        split = split_of(folder.name)
        inner = folders_in(folder) if split is not None else []
        if split is None or not inner:
            continue
        doubled = len(inner) == 1 and (inner[0].name == folder.name or split_of(inner[0].name) == split)
        doubled = doubled or (len(inner) == 1 and folded_word(inner[0].name) in IMAGE_WORDS)
        entered = inner[0] if doubled and folders_in(inner[0]) and not _direct_image(folder) else folder
        folders.setdefault(split, entered)
    return folders


def _is_table(file: Path) -> bool:
    return _is_table_name(file.name)


def _is_table_name(name: str) -> bool:
    return name.lower().endswith(TABLES)


def _has_image(folder: Path) -> bool:
    return any_below(folder, is_image)


def _direct_image(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) for entry in entries)


def _meant(folders: list[Path]) -> str:
    """The path that was probably meant: a folder of images with class folders inside."""
    deeper = next((folder for folder in folders if any(_has_image(below) for below in folders_in(folder))), None)
    return f"; if its folders are the classes, name {deeper}" if deeper is not None else ""
