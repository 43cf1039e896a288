"""Finds the annotation files and images of a COCO data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from vertebra.data.readers.files import files_of, folders_in
from vertebra.data.splits import split_of
from vertebra.errors import DataError

_KEY = re.compile(rb'"(images|annotations|categories|info|licenses)"\s*:')
_LIST = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_SNIFFED = 65536  # bytes at both ends of a file
_PREFERRED = ("instances", "_annotations.coco")
_POINTS = ("person_keypoints",)
MAX_FOLDERS = 50


def looks_like(path: Path) -> bool:
    """Whether a file is COCO JSON, or a folder contains such files."""
    return any(is_coco(file) for file in candidates(path))


def split_files(path: Path, accepts: Callable[[Path], bool], points: bool = False) -> dict[str, Path]:
    """The annotation file of each split of a folder; the key is "" for the only file of a folder without splits.

    Args:
        accepts: whether a file is of the reader's format.
        points: whether COCO's file of key points is read where it lies beside that of boxes and outlines.

    Raises:
        DataError: there is none, or several for one split.
    """
    by_split: dict[str, list[Path]] = {}
    for file in candidates(path):
        if accepts(file):
            split = split_of(file.stem) or (split_of(file.parent.name) if file.parent != path else None)
            by_split.setdefault(split or "", []).append(file)
    named = {split: files for split, files in by_split.items() if split}
    chosen = named or by_split
    if not chosen:
        raise DataError(f"{path}: no COCO file (JSON with 'images', 'annotations' and 'categories') in it")
    return {split: _one(files, path, split, _POINTS if points else _PREFERRED) for split, files in chosen.items()}


def tops_of(file: Path, folder: Path) -> list[Path]:
    """The folders that hold an annotation file and its images.

    Args:
        file: the annotation file.
        folder: the data set that it was found in, or its own folder.
    """
    tops = [file.parent, folder]
    if file.parent.name.lower().startswith("annotation"):
        tops.append(file.parent.parent)
    return list(dict.fromkeys(tops))


def candidates(path: Path) -> list[Path]:
    """The JSON files of a data set; of other folders those with one of COCO's lists, since a run's folder has JSON files, too."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    inner = [
        folder
        for folder in folders_in(path)
        if folder.name.lower() in ("annotations", "annotation") or split_of(folder.name)
    ]
    files = [file for folder in (path, *inner) for file in files_of(folder, ".json")]
    if files:
        return files
    deeper = [file for folder in folders_in(path)[:MAX_FOLDERS] for file in files_of(folder, ".json")]
    return [file for file in deeper if _LIST.search(_start(file))]


def is_coco(file: Path) -> bool:
    """Whether a file is COCO JSON with objects."""
    return _is_some_coco(file) and not is_panoptic(file)


def is_panoptic(file: Path) -> bool:
    """Whether a file is COCO panoptic JSON."""
    if not _is_some_coco(file):
        return False
    with file.open("rb") as opened:
        start = opened.read(_SNIFFED)
        opened.seek(max(0, file.stat().st_size - _SNIFFED))
        return b'"segments_info"' in start or b'"segments_info"' in opened.read()


def _is_some_coco(file: Path) -> bool:
    if not file.is_file():
        return False
    start = _start(file)
    return start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") and _KEY.search(start) is not None


def _start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_SNIFFED)


def _one(files: Sequence[Path], path: Path, split: str, words: tuple[str, ...]) -> Path:
    if len(files) == 1:
        return files[0]
    preferred = [file for file in files if file.name.startswith(words)]
    if len(preferred) == 1:
        return preferred[0]
    listed = ", ".join(file.name for file in files)
    which = f" for split '{split}'" if split else ""
    raise DataError(f"{path}: several COCO files{which} ({listed}); give the path of one of them")
