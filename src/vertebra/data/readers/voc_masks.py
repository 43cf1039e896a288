"""The masks of a VOC data set: ``SegmentationClass``, divided by ``ImageSets/Segmentation``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.readers.files import any_below, folders_called, images_below, is_image, relative
from vertebra.data.readers.mask_annotations import mask_annotations
from vertebra.data.readers.mask_pair_lists import Pairs, is_mask, masks_below
from vertebra.data.readers.name_lists import FileNames
from vertebra.data.readers.split_lists import list_files
from vertebra.data.readers.voc_layout import IMAGE_FOLDERS, find_parts, read_lists, xml_below
from vertebra.data.readers.voc_xml import parse_files
from vertebra.errors import DataError

MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug", "SegmentationClassPNG", "SegmentationClassRaw")
LIST_FOLDERS = ("ImageSets/Segmentation", "ImageSets/Main", "ImageSets", ".")
ENOUGH = 5  # different classes of VOC's that show that all are
SAMPLED = 50  # XML files whose classes show whether the data set has VOC's classes
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def has_masks(path: Path) -> bool:
    """Whether there are masks of classes."""
    return any(any_below(folder, is_mask) for folder in folders_called(path, MASK_FOLDERS))


def mask_splits(path: Path) -> tuple[str, ...]:
    """The splits that have a list."""
    return tuple(list_files(path, LIST_FOLDERS))


def load_masks(path: Path, split: str | None, options: ReadOptions) -> Annotations:
    """The mask files of a split.

    Raises:
        DataError: there is no pair of image and mask, or a mask has a value of no class.
    """
    notes: list[Note] = []
    pairs = _pairs(path, notes)
    names = VOC_CLASSES if _has_voc_classes(path) else None
    if names is not None:
        which, done = "of Pascal VOC, as in its XML files,", "taken for the values 0 to 20 of the masks"
        notes.append(Note.of("class", which, done, names))
    return mask_annotations(path, pairs, split, path, options, notes, names)


def _pairs(path: Path, notes: list[Note]) -> dict[str, Pairs]:
    """The pairs (image, mask) of each split; the key is "" without lists."""
    folder = next(folder for folder in folders_called(path, MASK_FOLDERS) if any_below(folder, is_mask))
    images = [(image, top) for top in folders_called(path, IMAGE_FOLDERS) for image in images_below(top)]
    images = images or [(image, path) for image in sorted(path.iterdir()) if is_image(image.name)]
    names = FileNames({image.relative_to(top).with_suffix("").as_posix(): image for image, top in images})
    masks = {mask.relative_to(folder).with_suffix("").as_posix(): mask for mask in masks_below(folder)}
    image_of = {mask: image for key, mask in masks.items() if (image := names.match(key)) is not None}
    if not image_of:
        raise DataError(f"{folder}: none of its masks has an image of its name in JPEGImages or images")
    lists = read_lists(list_files(path, LIST_FOLDERS), FileNames(masks))
    parts = {name: list(dict.fromkeys(listed.files)) for name, listed in lists.items()} or {"": list(masks.values())}
    bare = [mask.name for part in parts.values() for mask in part if mask not in image_of]
    if bare:
        notes.append(Note.of("mask", "without an image", "left out", bare))
    unknown = [name for listed in lists.values() for name in listed.unknown]
    if unknown:
        notes.append(Note.of("listed image", "without a mask", "left out", unknown))
    kept = {name: [mask for mask in part if mask in image_of] for name, part in parts.items()}
    return {
        name: list(zip(relative([image_of[mask] for mask in part], path), relative(part, path), strict=True))
        for name, part in kept.items()
    }


def _has_voc_classes(path: Path) -> bool:
    """Whether the XML files name only classes of VOC."""
    files = [file for part in find_parts(path) for file in islice(xml_below(part.folder), SAMPLED)]
    try:
        roots = [root for _, root in parse_files(files, [])]
    except DataError:
        return False
    named = {(entry.findtext("name") or "").strip() for root in roots for entry in root.iter("object")}
    return len(named) >= ENOUGH and named <= set(VOC_CLASSES)
