"""Pairs images with their masks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.annotations.table import SPLITS
from vertebra.data.readers.files import (
    exist,
    folders_in,
    images_below,
    is_image,
    lines_of,
    relative,
    without_copies,
)
from vertebra.data.splits import split_of
from vertebra.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages")
MASK_FOLDERS = ("masks", "mask", "annotations", "annots", "labels", "segmentations", "SegmentationClass", "gt")
BESIDE = ("annot", "_annot", "_annotations", "_mask", "_masks", "masks", "_labels", "labels")
ENDINGS = ("", "_mask", "_masks", "_L", "_gt", "_label", "_labels", "_seg", "_segmentation")

Pairs = list[tuple[str, str]]


def looks_like(path: Path) -> bool:
    """Whether a folder, or a list file, has images with masks."""
    if path.is_file():
        return path.suffix == ".txt" and _is_list(path)
    return bool(_list_files(path) or _parallel(path))


def find_pairs(path: Path, notes: list[Note]) -> dict[str, Pairs]:
    """The pairs (image, mask) of each split, relative to the folder; the key is "" for a folder without splits.

    Args:
        path: the data set's folder, or one list file.
        notes: gets notes about files that are left out.

    Raises:
        DataError: there are no pairs, or a list has files that do not exist.
    """
    if path.is_file():
        return {"": _read_list(path, path.parent, notes)}
    lists = _list_files(path)
    if lists:
        return {split: _read_list(file, path, notes) for split, file in lists.items()}
    parallel = _parallel(path)
    if not parallel:
        raise DataError(f"{path}: no masks found; put them in 'masks' beside 'images', or list pairs in train.txt")
    return {split: _match(images, masks, path, notes) for split, (images, masks) in parallel.items()}


def _list_files(path: Path) -> dict[str, Path]:
    """``train.txt`` and the like with pairs in them."""
    files = {split: path / f"{split}.txt" for split in SPLITS}
    return {split: file for split, file in files.items() if file.is_file() and _is_list(file)}


def _is_list(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as opened:
        words = next((line.split() for line in opened if line.strip()), [])
    return len(words) == 2 and all(is_image(word.rpartition("/")[2]) for word in words)


def _read_list(file: Path, root: Path, notes: list[Note]) -> Pairs:
    pairs: Pairs = []
    for number, line in enumerate(lines_of(file), start=1):
        words = line.split()
        if words and len(words) != 2:
            raise DataError(f"{file}: line {number} must be 'image mask', got '{line.strip()[:80]}'")
        if words:
            pairs.append((words[0], words[1]))
    pairs = without_copies(pairs, file.name, notes)
    _check_masks(pairs, file)
    for column, what in enumerate(("image", "mask")):
        names = [pair[column] for pair in pairs]
        existing = exist(root, names)
        if not existing.all():
            first = names[int(existing.argmin())]
            raise DataError(
                f"{file}: {int((~existing).sum())} of its {len(names)} {what}s do not exist, the first is {root / first}; "
                f"paths are relative to {root}"
            )
    return pairs


def _check_masks(pairs: Pairs, file: Path) -> None:
    masks = dict(pairs)
    if len(masks) < len(pairs):
        image, mask = next(pair for pair in pairs if masks[pair[0]] != pair[1])
        raise DataError(f"{file}: image {image} has two masks, {mask} and {masks[image]}; keep one of the lines")


def _parallel(path: Path) -> dict[str, tuple[Path, Path]]:
    """Folders of images and of their masks, by split."""
    images, masks = _first(path, IMAGE_FOLDERS), _first(path, MASK_FOLDERS)
    if images and masks:
        inner = {split: folder for folder in folders_in(images) if (split := split_of(folder.name))}
        both = {
            split: (folder, masks / folder.name) for split, folder in inner.items() if (masks / folder.name).is_dir()
        }
        return both or {"": (images, masks)}
    folders = {}
    for folder in folders_in(path):
        split = split_of(folder.name)
        if split is None:
            continue
        images, masks = _first(folder, IMAGE_FOLDERS), _first(folder, MASK_FOLDERS)
        beside = _first(path, [folder.name + ending for ending in BESIDE])
        if images and masks:
            folders[split] = (images, masks)
        elif beside:
            folders[split] = (folder, beside)
    return folders


def _first(path: Path, names: Sequence[str]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir() and _has_image(path / name)), None)


def _has_image(path: Path) -> bool:
    return any(is_image(name) for _, _, names in os.walk(path) for name in names)


def _match(images: Path, masks: Path, root: Path, notes: list[Note]) -> Pairs:
    """Pairs images and masks of the same name with any suffix; masks may have an ending such as ``_mask``."""
    files = {file.relative_to(masks).with_suffix("").as_posix(): file for file in images_below(masks)}
    pairs, without = [], []
    for image in images_below(images):
        stem = image.relative_to(images).with_suffix("").as_posix()
        mask = next((files[stem + ending] for ending in ENDINGS if stem + ending in files), None)
        if mask is None:
            without.append(image.name)
        else:
            pairs.append((image, mask))
    if without and not pairs:
        raise DataError(f"{images}: no image has a mask of its name in {masks} (the first image is {without[0]})")
    if without:
        notes.append(Note.of("image", "without a mask", "left out", without))
    unused = sorted(set(files.values()) - {mask for _, mask in pairs})
    if unused:
        notes.append(Note.of("mask", "without an image", "left out", [mask.name for mask in unused]))
    return list(zip(relative([i for i, _ in pairs], root), relative([m for _, m in pairs], root), strict=True))
