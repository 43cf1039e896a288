"""Pairs images with their masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vertebra.annotations.mask_arrays import ARRAY_SUFFIXES
from vertebra.annotations.notes import Note
from vertebra.data.readers.files import (
    any_below,
    exist,
    files_below,
    folders_called,
    images_below,
    is_image,
    lines_of,
    relative,
    split_folders,
    without_copies,
)
from vertebra.data.readers.name_lists import FileNames, read_names
from vertebra.data.readers.split_lists import list_files
from vertebra.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "JPEGImages", "photos", "leftImg8bit", "inputs")
MASK_FOLDERS = (
    *("masks", "mask", "ann_dir", "annotations", "annots", "labels", "label", "segmentations", "gt", "ground_truth"),
    *("groundtruth", "gtFine", "targets", "mask_dir", "seg", "trimaps"),
)
INNER_MASKS = ("masks", "trimaps", "SegmentationClass", "segmentations")
BESIDE = ("annot", "_annot", "_annotations", "_mask", "_masks", "masks", "_labels", "labels", "_gt", "_GroundTruth")
ENDINGS = (
    *("", "_mask", "_masks", "_L", "_gt", "_label", "_labels", "_seg", "_segmentation", "-mask", "_gtFine_labelIds"),
    *("_groundtruth", "_annotation", "_ann", "_color_mask"),
)
IMAGE_ENDINGS = ("", "_leftImg8bit", "_image", "_img")
LIST_FOLDERS = (".", "splits", "lists", "ImageSets/Segmentation", "ImageSets")
MOST_WORDS = 40  # of a line of a list

Pairs = list[tuple[str, str]]


def is_mask(name: str) -> bool:
    """Whether a file name is that of an image or an array."""
    return is_image(name) or (Path(name).suffix.lower() in ARRAY_SUFFIXES and not name.startswith("."))


def masks_below(path: Path) -> list[Path]:
    """All mask files in a folder and the folders below, by path."""
    return files_below(path, is_mask)


def looks_like(path: Path) -> bool:
    """Whether a folder, or a list file, has images with masks."""
    if path.is_file():
        return path.suffix == ".txt" and is_pair_list(path)
    return any(is_pair_list(file) for file in list_files(path, LIST_FOLDERS).values()) or bool(parallel_folders(path))


def find_pairs(path: Path, notes: list[Note]) -> dict[str, Pairs]:
    """The pairs (image, mask) of each split, relative to the folder; the key is "" for a folder without splits.

    Args:
        path: the data set's folder, or one list file.
        notes: gets notes about files that are left out.

    Raises:
        DataError: there are no pairs, a list has files that do not exist, or it is neither one of pairs nor of names.
    """
    if path.is_file():
        return {"": _read_pairs(path, path.parent, notes)}
    lists = list_files(path, LIST_FOLDERS)
    parallel = parallel_folders(path)
    if lists and (not parallel or any(is_pair_list(file) for file in lists.values())):
        return {split: _read_pairs(file, path, notes) for split, file in lists.items()}
    if not parallel:
        raise DataError(
            f"{path}: no masks found; put them in 'masks' beside 'images' (or ann_dir beside img_dir), each mask with the name of "
            "its image, or list pairs in train.txt"
        )
    pairs = {split: _match(images, masks, path, notes) for split, (images, masks) in parallel.items()}
    if lists and set(pairs) == {""}:
        return _divided(pairs, lists, notes)
    if lists:
        names = [file.name for file in lists.values()]
        notes.append(Note.of("list", "beside folders of splits", "left aside", names))
    return pairs


def is_pair_list(file: Path) -> bool:
    """Whether the first line of a file is an image and its mask."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            line = next((line.strip() for line in (opened.readline(4096) for _ in range(100)) if line.strip()), "")
    except OSError:
        return False
    return bool(_splittings(line))


def parallel_folders(path: Path) -> dict[str, tuple[Path, Path]]:
    """Folders of images and of their masks, by split."""
    images, masks = _first(path, IMAGE_FOLDERS, is_image), _mask_folder(path)
    if images and masks:
        folders_of_masks = split_folders(masks)
        inner = {split: folder for split, folder in split_folders(images).items() if split in folders_of_masks}
        return {split: (folder, folders_of_masks[split]) for split, folder in inner.items()} or {"": (images, masks)}
    folders = {}
    for split, folder in split_folders(path).items():
        images, masks = _first(folder, IMAGE_FOLDERS, is_image), _mask_folder(folder)
        beside = _first(path, [folder.name + ending for ending in BESIDE], is_mask)
        if images and masks:
            folders[split] = (images, masks)
        elif beside and beside != folder:
            folders[split] = (folder, beside)
    return folders


def _mask_folder(path: Path) -> Path | None:
    """The folder of masks, or that of masks among other annotations inside."""
    folder = _first(path, MASK_FOLDERS, is_mask)
    inner = None if folder is None else _first(folder, INNER_MASKS, is_mask)
    return inner or folder


def _first(path: Path, names: Sequence[str], wanted: Callable[[str], bool]) -> Path | None:
    return next((folder for folder in folders_called(path, names) if any_below(folder, wanted)), None)


def _splittings(line: str) -> list[tuple[str, str]]:
    """The pairs of names that a line may be, split at one of its spaces, tabs, commas or semicolons."""
    pairs = []
    for mark in ("\t", ";", ",", " "):
        parts = line.split(mark)
        for count in range(1, len(parts)) if len(parts) <= MOST_WORDS else ():
            image, mask = mark.join(parts[:count]).strip(), mark.join(parts[count:]).strip()
            if is_image(image.rpartition("/")[2]) and is_mask(mask.rpartition("/")[2]):
                pairs.append((image, mask))
    return list(dict.fromkeys(pairs))


def _read_pairs(file: Path, root: Path, notes: list[Note]) -> Pairs:
    """The pairs of a list; a line with several spaces is split where both files exist."""
    lines = [(number, line.strip()) for number, line in enumerate(lines_of(file), start=1) if line.strip()]
    candidates = []
    for number, line in lines:
        splittings = _splittings(line.replace("\\", "/"))
        if not splittings:
            raise DataError(f"{file}: line {number} must be 'image mask', got '{line[:80]}'")
        candidates.append(splittings)
    names = list(dict.fromkeys(name for splittings in candidates for pair in splittings for name in pair))
    existing = dict(zip(names, exist(root, names).tolist(), strict=True))
    pairs: Pairs = [
        next((pair for pair in splittings if existing[pair[0]] and existing[pair[1]]), splittings[-1])
        for splittings in candidates
    ]
    pairs = without_copies(pairs, file.name, notes)
    _check_masks(pairs, file)
    for column, what in enumerate(("image", "mask")):
        missing = [pair[column] for pair in pairs if not existing[pair[column]]]
        if missing:
            raise DataError(
                f"{file}: {len(missing)} of its {len(pairs)} {what}s do not exist, the first is {root / missing[0]}; "
                f"paths are relative to {root}"
            )
    return pairs


def _check_masks(pairs: Pairs, file: Path) -> None:
    masks = dict(pairs)
    if len(masks) < len(pairs):
        image, mask = next(pair for pair in pairs if masks[pair[0]] != pair[1])
        raise DataError(f"{file}: image {image} has two masks, {mask} and {masks[image]}; keep one of the lines")


def _divided(pairs: dict[str, Pairs], lists: dict[str, Path], notes: list[Note]) -> dict[str, Pairs]:
    """Pairs of parallel folders, divided by lists of names.

    Raises:
        DataError: a list names none of the images.
    """
    mask_of = dict(pairs[""])
    names = FileNames({str(Path(image).with_suffix("")): Path(image) for image in mask_of})
    divided: dict[str, Pairs] = {}
    unknown: list[str] = []
    for split, file in lists.items():
        listed = read_names(file, lines_of(file), names)
        images = without_copies([image.as_posix() for image in listed.files], file.name, notes)
        divided[split] = [(image, mask_of[image]) for image in images]
        unknown += listed.unknown
    if unknown:
        notes.append(Note.of("listed image", "without a file or a mask", "left out", unknown))
    rest = sorted(set(mask_of) - {image for part in divided.values() for image, _ in part})
    if rest:
        notes.append(Note.of("image", "that no list names", "left out", rest))
    return divided


def _match(images: Path, masks: Path, root: Path, notes: list[Note]) -> Pairs:
    """Pairs images and masks of the same name with any suffix; masks may have an ending such as ``_mask``."""
    inside = images == masks or images in masks.parents or masks in images.parents
    image_files = [file for file in images_below(images) if not (inside and masks in file.parents)]
    files = {file.relative_to(masks).with_suffix("").as_posix(): file for file in masks_below(masks)}
    copies = Counter(file.relative_to(images).with_suffix("").as_posix() for file in image_files)
    endings = (*ENDINGS, *_common_ending(copies, files))
    pairs, without, doubled = [], [], []
    for image in image_files:
        stem = image.relative_to(images).with_suffix("").as_posix()
        doubled += [image.name] * (copies[stem] > 1)
        shorter = [stem.removesuffix(ending) for ending in IMAGE_ENDINGS if stem.endswith(ending)]
        mask = next((files[name + end] for name in shorter for end in endings if name + end in files), None)
        if mask is None:
            without.append(image.name)
        else:
            pairs.append((image, mask))
    if without and not pairs:
        raise DataError(f"{images}: no image has a mask of its name in {masks} (the first image is {without[0]})")
    for which, done, names in (
        ("without a mask", "left out", without),
        ("of the same name but another ending", "given the same mask", doubled),
    ):
        if names:
            notes.append(Note.of("image", which, done, names))
    unused = sorted(set(files.values()) - {mask for _, mask in pairs})
    if unused:
        notes.append(Note.of("mask", "without an image", "left out", [mask.name for mask in unused]))
    return list(zip(relative([i for i, _ in pairs], root), relative([m for _, m in pairs], root), strict=True))


def _common_ending(stems: Iterable[str], files: Iterable[str]) -> list[str]:
    """The ending by which the names of masks differ from those of their images, if all masks have the same one."""
    first = min(stems, default="")
    known = set(files)
    endings = {file[len(first) :] for file in known if first and file.startswith(first)}
    return [ending for ending in sorted(endings) if all(stem + ending in known for stem in stems)]
