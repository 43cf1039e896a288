"""What the folders of a data set are: classes, splits, or plainly or likely something else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from vertebra.annotations.class_names import shorten
from vertebra.data.readers.files import (
    any_below,
    file_names,
    files_below,
    files_of,
    folded_word,
    folder_kind,
    folders_in,
    is_image,
    walk,
)
from vertebra.data.readers.known_layouts import known_layout
from vertebra.data.readers.mask_files import BESIDE, ENDINGS
from vertebra.data.splits import split_of

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
NO_CLASSES = frozenset(
    map(folded_word, ("images", "imgs", "JPEGImages", "PNGImages", "annotations", "jpg", "jpeg", "png", "rgb", "tif"))
)
"""Names that no class has, whatever the folders beside it are called."""
PARTS = frozenset({"batch", "part", "patch", "chunk", "shard", "subset"})
SIDECARS = (".xml", ".json", ".txt", ".pts", ".mat")
SAMPLED_FOLDERS = 50
MANY_FOLDERS = 50  # of classes, as no folders of other things are
_NUMBER = re.compile(r"[_ -]\d+$")
TABLES = (".csv", ".tsv", ".parquet", ".jsonl")


def no_classes(path: Path) -> str:
    """Why the folders are plainly no classes, and which path was probably meant; "" for others."""
    if not path.is_dir():
        return ""
    root = class_root(path)
    folders = [folder for folder in class_folders(root) if has_image(folder)]
    names = sorted({folder.name for folder in folders})
    words = {folded_word(name) for name in names}
    if not words:
        return ""
    table = next((file.name for file in sorted(path.iterdir()) if _is_table(file)), "")
    beside = f"; the classes may be in {table}" if table else ""
    if (words <= IMAGE_WORDS | OTHER_WORDS and words & IMAGE_WORDS) or (words <= OTHER_WORDS and len(words) > 1):
        return f"its folders {shorten(names)} are no classes{_meant(folders)}{beside}"
    beside_splits = {name for name in names if any(name == first + ending for first in names for ending in BESIDE)}
    if not folders_of_splits(root) and all(split_of(name) for name in names if name not in beside_splits):
        return f"its folders {shorten(names)} are splits, and their images lie in no folders of classes{beside}"
    inside = table or next((file.name for file in files_below(folders[0], _is_table_name)), "")
    if inside and len(names) == 1:
        return f"its only folder {names[0]} is no class; the classes may be in {inside}"
    inner = [below for folder in folders for below in folders_in(folder)]
    kinds = {folder_kind(below.name) for below in inner}
    if "" in kinds or not inner or any(map(has_direct_image, folders)):
        return ""
    if any(folders_in(below) for below in inner):
        return f"the classes lie deeper than in its folders {shorten(names)}{_meant(inner)}"
    if len(kinds) > 1:
        return f"its folders {shorten(names)} hold images beside masks or labels; for classes, put those of each into one folder"
    return ""


def doubts(path: Path) -> str:
    """Why the folders are hardly classes, though they may be read as such if the format is named; "" for others."""
    known = known_layout(path)
    if known or not path.is_dir():
        return known
    folders = class_folders(class_root(path))
    folders = folders[:0] if len(folders) > MANY_FOLDERS else [folder for folder in folders if has_image(folder)]
    names = sorted({folder.name for folder in folders})
    kinds = [folder_kind(name) for name in names]
    numbered = {re.sub(r"[\W\d_]+", "", name).lower() for name in names}
    parts = len(names) > 1 and len(numbered) == 1 and ("images" in kinds or numbered <= PARTS)
    text = ""
    if any(folded_word(name) in NO_CLASSES for name in names) or (all(kinds) and len(set(kinds)) > 1) or parts:
        text = f"its folders {shorten(names)} are hardly classes{_meant(folders)}"
    elif len(names) == 1 and (any(kinds) or not any(map(has_direct_image, folders))):
        text = f"its only class folder is {names[0]}, so there is nothing to tell apart{_meant(folders)}"
    elif sidecar := _sidecar(path):
        text = f"annotations such as {sidecar} lie beside its images, which are not read"
    return f"{text}; with format: image_folder its folders are read as classes" if text else ""


def _sidecar(path: Path) -> str:
    """A file with annotations of the name of an image, in the first folders of a data set; "" if there is none."""
    folders = [Path(folder) for folder, _, _ in islice(walk(path), SAMPLED_FOLDERS)]
    sidecars = {file.stem: file.name for folder in folders for file in files_of(folder, *SIDECARS)}
    if not sidecars:
        return ""
    stems = {name.rpartition(".")[0] for folder in folders for name in file_names(folder) if is_image(name)}
    return next((sidecars[stem] for stem in sorted(sidecars) if stem in stems), "")


def masks_among(images: Sequence[Path]) -> set[Path]:
    """The images that are masks of others by their names: ``1_mask.png`` and ``1_mask_2.png`` beside ``1.png``."""
    endings = tuple(
        ending for ending in ENDINGS if ending not in ("", "_L")
    )  # "_L" is as often the left one of two views
    numbered = [image for image in images if _NUMBER.sub("", image.stem).endswith(endings)]
    if not numbered:
        return set()
    stems = {image.with_suffix("") for image in images}
    masks: set[Path] = set()
    for image in numbered:
        shorter = {image.stem, _NUMBER.sub("", image.stem)}
        bare = {stem.removesuffix(end) for stem in shorter for end in endings if stem.endswith(end)}
        if any(stem and image.with_name(stem) in stems for stem in bare):
            masks.add(image)
    return masks


def class_root(path: Path) -> Path:
    """The folder with the class folders: the data set, or its folder ``images`` if that is its only one with images."""
    if not path.is_dir() or folders_of_splits(path):
        return path
    with_images = list(islice(filter(has_image, folders_in(path)), 2))
    if len(with_images) != 1 or folded_word(with_images[0].name) not in IMAGE_WORDS or has_direct_image(with_images[0]):
        return path
    inner = [folder for folder in folders_in(with_images[0]) if has_image(folder)]
    return with_images[0] if len(inner) > 1 and not folders_of_splits(with_images[0]) else path


def flat_folders(path: Path, parts: Mapping[str, Path]) -> dict[str, Path]:
    """The folders of splits with images in no class folder, beside those of splits with class folders."""
    folders: dict[str, Path] = {}
    for folder in folders_in(path) if parts else []:
        split = split_of(folder.name)
        if split is not None and split not in parts and has_image(folder):
            folders.setdefault(split, folder)
    return folders


def class_folders(path: Path) -> list[Path]:
    return [folder for part in (folders_of_splits(path).values() or [path]) for folder in folders_in(part)]


def folders_of_splits(path: Path) -> dict[str, Path]:
    """The folders of the splits; empty if the sub-folders are the classes."""
    folders: dict[str, Path] = {}
    for folder in folders_in(path):
        split = split_of(folder.name)
        inner = folders_in(folder) if split is not None else []
        if split is None or not inner:
            continue
        doubled = len(inner) == 1 and (inner[0].name == folder.name or split_of(inner[0].name) == split)
        doubled = doubled or (len(inner) == 1 and folded_word(inner[0].name) in IMAGE_WORDS)
        entered = inner[0] if doubled and folders_in(inner[0]) and not has_direct_image(folder) else folder
        folders.setdefault(split, entered)
    with_classes = {split: folder for split, folder in folders.items() if not _only_images(folder)}
    return with_classes or folders


def _only_images(folder: Path) -> bool:
    """Whether the only folders in a split's are of images, so that they are no classes."""
    inner = folders_in(folder)
    return bool(inner) and all(folded_word(below.name) in IMAGE_WORDS and not folders_in(below) for below in inner)


def _is_table(file: Path) -> bool:
    return _is_table_name(file.name)


def _is_table_name(name: str) -> bool:
    return name.lower().endswith(TABLES)


def has_image(folder: Path) -> bool:
    return any_below(folder, is_image)


def has_direct_image(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) for entry in entries)


def _meant(folders: list[Path]) -> str:
    """The path that was probably meant: a folder of images with class folders inside."""
    deeper = next((folder for folder in folders if any(has_image(below) for below in folders_in(folder))), None)
    return f"; if its folders are the classes, name {deeper}" if deeper is not None else ""
