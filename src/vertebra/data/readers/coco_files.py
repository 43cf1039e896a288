"""Finds the annotation files and images of a COCO data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vertebra.data.readers.files import exist, folders_in
from vertebra.data.splits import split_of
from vertebra.errors import DataError

_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"info"', b'"licenses"')
_IMAGE_FOLDERS = ("images", "imgs", "JPEGImages", "img", "data")
_PREFERRED = ("instances", "_annotations.coco")


def looks_like(path: Path) -> bool:
    """Whether a file is COCO JSON, or a folder contains such files."""
    return any(_is_coco(file) for file in _candidates(path))


def split_files(path: Path) -> dict[str, Path]:
    """The annotation file of each split of a folder; the key is "" for the only file of a folder without splits.

    Raises:
        DataError: there is none, or several for one split.
    """
    by_split: dict[str, list[Path]] = {}
    for file in _candidates(path):
        if _is_coco(file):
            split = split_of(file.stem) or (split_of(file.parent.name) if file.parent != path else None)
            by_split.setdefault(split or "", []).append(file)
    named = {split: files for split, files in by_split.items() if split}
    chosen = named or by_split
    if not chosen:
        raise DataError(f"{path}: no COCO file (JSON with 'images', 'annotations' and 'categories') in it")
    return {split: _one(files, path, split) for split, files in chosen.items()}


def image_folder(file: Path, root: Path, names: Sequence[str], sample_size: int = 50) -> Path:
    """The folder that image paths in a COCO file are relative to.

    Args:
        file: the annotation file.
        root: the data set's folder.
        names: the images' file names.

    Raises:
        DataError: none of the first images is found in any likely folder.
    """
    split = split_of(file.stem) or split_of(file.parent.name) or ""
    tops = list(dict.fromkeys([file.parent, root, file.parent.parent]))
    folders = list(tops)
    for top in tops:
        inner = [top / name for name in _IMAGE_FOLDERS]
        folders += [folder for folder in [*inner, top / file.stem] if folder.is_dir()]
        for base in (top, *inner):
            if split and base.is_dir():
                folders += [folder for folder in folders_in(base) if split_of(folder.name) == split]
    step = max(1, len(names) // sample_size)
    sample = names[::step][:sample_size]
    counts = [int(exist(folder, sample).sum()) for folder in folders]
    if not max(counts):
        tried = ", ".join(dict.fromkeys(str(folder) for folder in folders[:6]))
        raise DataError(f"{file}: its images are not found (the first is {names[0]}); searched in {tried}")
    return folders[counts.index(max(counts))]


def _candidates(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    inner = [folder for folder in folders_in(path) if folder.name == "annotations" or split_of(folder.name)]
    return [file for folder in (path, *inner) for file in sorted(folder.glob("*.json"))]


def _is_coco(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        start = opened.read(65536)
    return start.lstrip().startswith(b"{") and any(key in start for key in _KEYS)


def _one(files: Sequence[Path], path: Path, split: str) -> Path:
    if len(files) == 1:
        return files[0]
    preferred = [file for file in files if file.name.startswith(_PREFERRED)]
    if len(preferred) == 1:
        return preferred[0]
    listed = ", ".join(file.name for file in files)
    which = f" for split '{split}'" if split else ""
    raise DataError(f"{path}: several COCO files{which} ({listed}); give the path of one of them")
