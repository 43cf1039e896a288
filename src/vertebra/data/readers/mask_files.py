"""Pairs images with their masks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import (
    any_below,
    folder_kind,
    folders_called,
    folders_in,
    images_below,
    is_image,
    lines_of,
    listing,
    relative,
    split_folders,
    walk,
    without_copies,
)
from vertebra.data.readers.mask_pair_lists import Pairs, is_mask, is_pair_list, masks_below, read_pairs
from vertebra.data.readers.name_lists import FileNames, read_names
from vertebra.data.readers.split_lists import list_files
from vertebra.data.splits import split_of
from vertebra.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "JPEGImages", "photos", "leftImg8bit", "inputs")
MASK_FOLDERS = (
    *(
        "1st_manual",
        "masks",
        "mask",
        "ann_dir",
        "annotations",
        "annots",
        "labels",
        "label",
        "segmentations",
        "gt",
        "ground_truth",
    ),
    *("groundtruth", "gtFine", "targets", "mask_dir", "seg", "trimaps"),
)
INNER_MASKS = ("masks", "trimaps", "SegmentationClass", "segmentations")
BESIDE = ("annot", "_annot", "_annotations", "_mask", "_masks", "masks", "_labels", "labels", "_gt", "_GroundTruth")
ENDINGS = (
    *("", "_mask", "_masks", "_L", "_gt", "_label", "_labels", "_seg", "_segmentation", "-mask", "_gtFine_labelIds"),
    *("_groundtruth", "_annotation", "_ann", "_color_mask", "_manual1"),
)
IMAGE_ENDINGS = ("", "_leftImg8bit", "_image", "_img", "_RGB", "_sat", "_training", "_test")
LIST_FOLDERS = (".", "splits", "lists", "ImageSets/Segmentation", "ImageSets", "annotations")
SAMPLED_FOLDERS, SAMPLED_NAMES = 30, 200  # that show whether there may be masks beside images
MATCHED = 0.5  # least share of the images of a folder that have a mask beside them

_NO_MASKS = re.compile("panoptic|instance")  # masks that number objects
_VERSION = re.compile(r"v\d+(\.\d+)*")


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
        return {"": read_pairs(path, path.parent, notes)}
    lists = list_files(path, LIST_FOLDERS)
    parallel = parallel_folders(path)
    if lists and (not parallel or any(is_pair_list(file) for file in lists.values())):
        return {split: read_pairs(file, path, notes) for split, file in lists.items()}
    if not parallel:
        raise DataError(
            f"{path}: no masks found; put them in 'masks' beside 'images' (or ann_dir beside img_dir), each mask with the name of "
            "its image, or list pairs in train.txt"
        )
    pairs = {
        split: _match_together(images, path, notes) if images == masks else _match(images, masks, path, notes)
        for split, (images, masks) in parallel.items()
    }
    aside = [folder.name for _, masks in parallel.values() for folder in _mask_folders(masks.parent) if folder != masks]
    if aside and not any(images == masks for images, masks in parallel.values()):
        notes.append(Note.of("folder", "of masks, beside another,", "left aside", aside))
    if lists and set(pairs) == {""}:
        return _divided(pairs, lists, notes)
    if lists:
        names = [file.name for file in lists.values()]
        notes.append(Note.of("list", "beside folders of splits", "left aside", names))
    return pairs


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
    if folders or folders_called(path, ("SegmentationClass", "SegmentationObject")):  # of VOC
        return folders
    return _folders_with_words(path) or _folders_of_both(path)


def _folders_with_words(path: Path) -> dict[str, tuple[Path, Path]]:
    """Folders whose names have a word for images or masks (``Training_Input``, ``Training_GroundTruth``), by split."""
    by_kind: dict[str, dict[str, list[Path]]] = {"images": {}, "annotations": {}}
    for folder in folders_in(path):
        kind = folder_kind(folder.name)
        if kind and not _NO_MASKS.search(folder.name.lower()) and any_below(folder, is_mask):
            by_kind[kind].setdefault(split_of(folder.name) or "", []).append(folder)
    images, masks = by_kind["images"], by_kind["annotations"]
    alone = [split for split in images if len(images[split]) == len(masks.get(split, ())) == 1]
    return {split: (images[split][0], masks[split][0]) for split in alone}


def _folders_of_both(path: Path) -> dict[str, tuple[Path, Path]]:
    """Folders of images and masks together, by split: ``1_sat.jpg`` with ``1_mask.png``, ``Urban/images`` with ``Urban/masks``."""
    folders = split_folders(path) or ({} if _is_around_another(path) else {"": path})
    return {split: (folder, folder) for split, folder in folders.items() if _are_together(folder)}


def _is_around_another(path: Path) -> bool:
    """Whether all images of a folder are in one folder inside, which is then the data set."""
    return not any(map(is_image, listing(path).files)) and sum(any_below(f, is_image) for f in folders_in(path)) < 2


def _are_together(folder: Path) -> bool:
    if not any(_hints_at_masks(inner, names) for _, inner, names in islice(walk(folder), SAMPLED_FOLDERS)):
        return False
    images, masks = _divided_by_name(folder)
    return bool(masks) and len(set(images) & set(masks)) >= max(MATCHED * len(images), MATCHED * len(masks))


def _hints_at_masks(folders: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a folder has folders of masks, or some of its files are called as masks."""
    endings = tuple(ending for ending in ENDINGS if ending)
    of_masks = any(name.rpartition(".")[0].endswith(endings) for name in names[:SAMPLED_NAMES])
    return of_masks or any(folder_kind(name) == "annotations" for name in folders[:SAMPLED_NAMES])


def _divided_by_name(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The images and the masks of a folder by what their names have in common: files of masks, in folders or with an ending."""
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for file in masks_below(folder):
        parts = file.relative_to(folder).parts[:-1]
        of_masks = any(folder_kind(part) == "annotations" for part in parts)
        ending = next((end for end in ENDINGS if end and file.stem.endswith(end)), "")
        endings = IMAGE_ENDINGS if not (of_masks or ending) else (ending,)
        stem = next((file.stem.removesuffix(end) for end in endings if end and file.stem.endswith(end)), file.stem)
        key = "/".join([*(part for part in parts if not folder_kind(part)), stem])
        (masks if of_masks or ending else images).setdefault(key, file)
    return images, masks


def _match_together(folder: Path, root: Path, notes: list[Note]) -> Pairs:
    """Pairs of images and masks in the same folder."""
    images, masks = _divided_by_name(folder)
    for noun, which, names in (
        ("image", "without a mask", [images[key].name for key in images if key not in masks]),
        ("mask", "without an image", [masks[key].name for key in masks if key not in images]),
    ):
        if names:
            notes.append(Note.of(noun, which, "left out", names))
    both = [key for key in images if key in masks]
    return list(zip(relative([images[k] for k in both], root), relative([masks[k] for k in both], root), strict=True))


def _mask_folder(path: Path) -> Path | None:
    """The folder of masks, or that of masks among other annotations inside."""
    folder = next(iter(_mask_folders(path)), None)
    if folder is None:  # v2.0/labels, beside v1.2/labels
        versions = [
            _first(inner, MASK_FOLDERS, is_mask) for inner in folders_in(path) if _VERSION.fullmatch(inner.name)
        ]
        return next((folder for folder in reversed(versions) if folder), None)
    return _first(folder, INNER_MASKS, is_mask) or folder


def _mask_folders(path: Path) -> list[Path]:
    """The folders of masks, the likeliest first."""
    return [folder for folder in folders_called(path, MASK_FOLDERS) if any_below(folder, is_mask)]


def _first(path: Path, names: Sequence[str], wanted: Callable[[str], bool]) -> Path | None:
    return next((folder for folder in folders_called(path, names) if any_below(folder, wanted)), None)


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
    if rest and "train" not in divided:
        divided["train"] = [(image, mask_of[image]) for image in rest]
        notes.append(Note.of("image", "that no list names", "taken as train, which has none", rest))
    elif rest:
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
