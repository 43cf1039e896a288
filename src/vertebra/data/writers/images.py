"""The images of a data set that is written: their names, sizes and copies."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.readers.image_names import IMAGE_FOLDERS
from vertebra.data.readers.image_sizes import image_sizes
from vertebra.data.splits import split_of
from vertebra.data.writers.base import Target
from vertebra.errors import DataError
from vertebra.shards.members import copy_file

_CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")  # cannot be in a list, or in UTF-8


def image_names(
    annotations: Annotations, notes: list[Note], *, folders: str = "all", by_stem: bool = False, by_split: bool = False
) -> list[str]:
    """The name of each image in the new data set.

    Names stay as they are. Only where two images would have one name, or a name cannot be written, an image is renamed, with a
    note.

    Args:
        annotations: have the images.
        notes: gets the note.
        folders: "all" keeps the folders of images; "short" leaves out those that are only "images" or a split; "none" all.
        by_stem: whether images need names that differ without their endings.
        by_split: whether images of several splits may have one name.

    Returns:
        Relative paths with forward slashes.
    """
    codes = np.zeros(len(annotations)) if annotations.splits is None or not by_split else annotations.splits
    paths = [os.fsdecode(path) for path in annotations.images]
    names = _without_common([_shortened(path, folders) for path in paths])
    keys: dict[tuple[float, str], str] = {}
    renamed: list[str] = []
    for row, (path, name, code) in enumerate(zip(paths, names, codes.tolist(), strict=True)):
        chosen = name
        for number in range(1, len(paths) + 2):
            if keys.setdefault((code, _key(chosen, by_stem)), path) == path:
                break
            stem, dot, suffix = _shortened(path.replace("/", "_") if folders != "all" else path, folders).rpartition(
                "."
            )
            chosen = f"{stem}{dot}{suffix}" if number == 1 else f"{stem}-{number}{dot}{suffix}"
        names[row] = chosen
        if chosen.rpartition("/")[2] != path.rpartition("/")[2]:
            renamed.append(f"{path.rpartition('/')[2]} to {chosen}")
    if renamed:
        which = "whose name another has, or which cannot be written,"
        notes.append(Note.of("image", which, "renamed", renamed))
    return names


def _without_common(names: list[str]) -> list[str]:
    """Names without a first folder that is called "images" or alike, if all have the same."""
    while names:
        first = {name.partition("/")[0] if "/" in name else "" for name in names}
        if len(first) > 1 or next(iter(first)).lower() not in IMAGE_FOLDERS:
            break
        names = [name.partition("/")[2] for name in names]
    return names


def _key(name: str, by_stem: bool) -> str:
    return name.rpartition(".")[0] if by_stem else name


def _shortened(path: str, folders: str) -> str:
    *inner, name = [_CONTROL.sub("_", part) for part in path.split("/") if part not in ("", ".", "..")]
    inner = [part for part in inner if not part.endswith((".tar", ".arrow"))]
    if folders == "short":
        inner = [part for part in inner if part.lower() not in IMAGE_FOLDERS and split_of(part) is None]
    return "/".join([*(inner if folders != "none" else []), name])


def in_folder_order(names: Sequence[str]) -> bool:
    """Whether images are in the order in which folders are listed, which formats without lists have."""
    return list(names) == sorted(names, key=lambda name: name.split("/"))


def copy_images(annotations: Annotations, names: Sequence[str], target: Target) -> None:
    """Copies or links the image files, unchanged, unless the target has none.

    Args:
        annotations: have the images.
        names: the path of each in the target's folder.
        target: where and how.

    Raises:
        DataError: an image does not exist.
    """
    if target.images == "none":
        return
    folders: set[str] = set()
    for row in target.progress(range(len(annotations)), "images"):
        folder = names[row].rpartition("/")[0]
        if folder not in folders:
            (target.folder / folder).mkdir(parents=True, exist_ok=True)
            folders.add(folder)
        source, copied = annotations.path(row), target.folder / names[row]
        if copied.exists():  # an image of two splits
            continue
        try:
            if target.images == "link":
                with contextlib.suppress(OSError):  # another disk, or a file system without links
                    copied.hardlink_to(source.resolve())
                    continue
            copy_file(source, copied)
        except FileNotFoundError:
            raise DataError(f"{source}: this image does not exist") from None


def pixel_sizes(annotations: Annotations, rows: np.ndarray) -> np.ndarray:
    """(m, 2) (height, width) of some images from their headers.

    Raises:
        DataError: an image cannot be read.
    """
    names = [os.fsdecode(annotations.images[row]) for row in rows.tolist()]
    sizes = image_sizes(annotations.root, names)
    wrong = np.flatnonzero((sizes == 0).any(axis=1))
    if len(wrong):
        raise DataError(
            f"{annotations.root / names[int(wrong[0])]}: this image cannot be read, and its size is needed; remove it, or "
            "repair it"
        )
    return sizes


def all_sizes(annotations: Annotations) -> np.ndarray:
    """(n, 2) (height, width) that annotations were made for: as the files have them, or else of the images."""
    sizes: np.ndarray = annotations.sizes.copy()
    unknown = np.flatnonzero((sizes == 0).any(axis=1))
    if len(unknown):
        sizes[unknown] = pixel_sizes(annotations, unknown)
    return sizes
