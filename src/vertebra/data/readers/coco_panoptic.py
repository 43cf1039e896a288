"""COCO panoptic: JSON with ``segments_info``, and a PNG for each image whose colors are the ids of its segments.

The PNG files are in a folder named as the JSON (``annotations/panoptic_val2017.json`` and ``annotations/panoptic_val2017``), in
another folder for masks, or beside the JSON. A pixel's segment is R + 256 G + 65536 B; 0 is no segment, and is ignored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from vertebra.annotations.join import joined
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.annotations.table import Annotations, MaskFiles, Objects
from vertebra.annotations.values import flags, whole_number
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.coco_content import categories_of
from vertebra.data.readers.coco_entries import ids_of, rows_of_ids, sizes_of, values_of
from vertebra.data.readers.coco_files import candidates, is_panoptic, split_files, tops_of
from vertebra.data.readers.coco_json import PanopticEntry, SegmentEntry, decode_coco
from vertebra.data.readers.coco_objects import areas_of, boxes_of
from vertebra.data.readers.files import folders_in
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.splits import split_of
from vertebra.errors import DataError

_MASK_WORDS = ("panoptic", "mask", "annotation", "label", "segment")
IGNORE_INDEX = 255


class CocoPanopticReader(AnnotationReader):
    """COCO panoptic JSON with PNG files."""

    name = "coco_panoptic"
    summary = "COCO panoptic JSON (with segments_info) and its PNG files"
    suffixes = (".json",)
    holds = frozenset({"boxes", "outlines", "masks"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file is COCO panoptic JSON, or a folder contains such files."""
        return any(map(is_panoptic, candidates(path)))

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that have a file."""
        return () if path.is_file() else tuple(split for split in split_files(path, is_panoptic) if split)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The PNG files and segments of a split.

        Raises:
            DataError: the file is damaged or lacks what COCO defines, or its images or PNG files are not found.
        """
        files = {"": path} if path.is_file() else split_files(path, is_panoptic)
        folder = path if path.is_dir() else path.parent
        if split is None and "" not in files:
            return joined({name: _annotations(file, folder) for name, file in files.items()}, folder)
        return _annotations(files[split or ""], folder)


def _annotations(file: Path, folder: Path) -> Annotations:
    """All that one file holds, of the images that exist."""
    raw = decode_coco(file.read_bytes(), file, PanopticEntry)
    entries: Sequence[PanopticEntry] = raw.annotations
    notes: list[Note] = []
    names = [str(name) for name in values_of(raw.images, "file_name", "images", file)]
    image_ids = ids_of(raw.images, "images", file)
    masks = [str(name) for name in values_of(entries, "file_name", "annotations", file)]
    rows = rows_of_ids(image_ids, values_of(entries, "image_id", "annotations", file))
    _check_rows(rows, image_ids, entries, file, notes)
    tops = tops_of(file, folder)
    root = Path(os.path.commonpath(tops))
    split = split_of(file.stem) or split_of(file.parent.name) or ""
    mask_notes: list[Note] = []
    pictures = resolve_images(masks, _mask_folders(file, tops), root, file, mask_notes, noun="mask", anywhere=False)
    images = resolve_images(names, _image_folders(tops, split, root, pictures), root, file, notes)
    notes += mask_notes
    _check_apart(images, pictures, file)
    mask_of = [""] * len(names)
    for row, picture in zip(rows.tolist(), pictures, strict=True):
        if row >= 0:
            mask_of[row] = picture
    segments = [
        (row, one)
        for row, entry in zip(rows.tolist(), entries, strict=True)
        for one in _segments(entry, file)
        if row >= 0
    ]
    categories, numbers = categories_of(raw.categories, [one.category_id for _, one in segments], file, notes)
    count = len(names)
    annotations = Annotations(
        root=root,
        images=path_column(images),
        categories=categories,
        objects=_objects(
            [one for _, one in segments], np.array([row for row, _ in segments], np.int64), numbers, names, file, notes
        ),
        labels=np.zeros((0, 2), dtype=np.int64),
        masks=MaskFiles(
            root, path_column(mask_of), np.zeros(0, dtype=np.int32), _ignore_index(len(categories)), segments=True
        ),
        annotated=np.array([bool(mask) for mask in mask_of], dtype=bool),
        sizes=sizes_of(raw.images, names, notes),
        where=file,
        image_ids=tuple(image_ids),
        notes=notes,
    )
    existing = np.flatnonzero([bool(image) for image in images])
    return annotations if len(existing) == count else annotations.take(existing)


def _image_folders(tops: Sequence[Path], split: str, root: Path, masks: Sequence[str]) -> list[Path]:
    """The folders that names of images may be relative to: none that has masks, which may have the same names."""
    of_masks = {folder for mask in masks if mask for folder in (root / mask).parents} - set(tops)
    return [folder for folder in image_folders(tops, split) if folder not in of_masks]


def _check_apart(images: Sequence[str], masks: Sequence[str], file: Path) -> None:
    """Refuses images that are masks."""
    same = set(images) & set(masks) - {""}
    if same:
        raise DataError(
            f"{file}: {len(same)} images are PNG files of segments, the first is {min(same)}; put the images in another folder"
        )


def _check_rows(
    rows: np.ndarray, image_ids: Sequence[Any], entries: Sequence[PanopticEntry], file: Path, notes: list[Note]
) -> None:
    """Notes entries of unknown images, and refuses several of one image."""
    unknown = [f"image_id {str(entries[i].image_id)[:60]}" for i in np.flatnonzero(rows < 0).tolist()]
    if unknown:
        notes.append(Note.of("annotation", "of images that are not in the file", "dropped", unknown))
    twice = np.flatnonzero(np.bincount(rows[rows >= 0], minlength=len(image_ids)) > 1)
    if len(twice):
        raise DataError(
            f"{file}: {len(twice)} images have several entries in 'annotations', the first is image_id "
            f"{str(image_ids[twice[0]])[:60]}; one PNG file holds all segments of an image"
        )


def _segments(entry: PanopticEntry, file: Path) -> Sequence[SegmentEntry]:
    """The segments of an image.

    Raises:
        DataError: there is no list of them.
    """
    segments = entry.segments_info
    if segments is UNSET:
        name = str(entry.file_name)[:60]
        raise DataError(
            f"{file}: the entry of {name} has no list 'segments_info' of objects in braces; write the file again"
        )
    return segments  # type: ignore[no-any-return]


def _objects(
    segments: Sequence[SegmentEntry],
    rows: np.ndarray,
    categories: np.ndarray,
    names: Sequence[str],
    file: Path,
    notes: list[Note],
) -> Objects:
    ids = [whole_number(one.id) for one in segments]
    wrong = [str(one.id)[:60] for one, key in zip(segments, ids, strict=True) if key is None or not 0 < key < 2**24]
    if wrong:
        raise DataError(
            f"{file}: the id of a segment is {wrong[0]}; ids are whole numbers from 1 to 16777215, colors of the PNG"
        )
    owners = [names[row] for row in rows.tolist()]
    keys = rows * 2**24 + np.array(ids, dtype=np.int64)
    unique, counts = np.unique(keys, return_counts=True)
    if (counts > 1).any():
        twice = int(unique[counts > 1][0])
        raise DataError(
            f"{file}: two segments of {names[twice >> 24]} have the id {twice & 0xFFFFFF}; give each its own"
        )
    count = len(segments)
    return Objects(
        rows=rows,
        categories=categories,
        boxes=boxes_of([one.bbox for one in segments], ids, file),
        shapes=None,
        points=np.zeros((0, 3)),
        point_offsets=np.zeros(count + 1, dtype=np.int64),
        crowd=flags([one.iscrowd for one in segments], "iscrowd", owners, notes),
        areas=areas_of([one.area for one in segments], owners, notes),
        ids=tuple(ids) if ids else None,
    )


def _mask_folders(file: Path, tops: Sequence[Path]) -> list[Path]:
    """The folders that names of PNG files may be relative to, the likeliest first."""
    split = split_of(file.stem) or split_of(file.parent.name)
    inner = [folder for top in tops if top.is_dir() for folder in folders_in(top)]
    inner = [folder for folder in inner if split is None or split_of(folder.name) in (None, split)]
    named = [folder for folder in inner if folder.name == file.stem]
    others = [folder for folder in inner if any(word in folder.name.lower() for word in _MASK_WORDS)]
    deeper = [folder for other in others for folder in folders_in(other) if split_of(folder.name) == split]
    return list(dict.fromkeys([*named, *deeper, *others, *tops]))


def _ignore_index(classes: int) -> int:
    return IGNORE_INDEX if classes <= IGNORE_INDEX else 65535
