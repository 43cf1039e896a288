"""Finds the images of a YOLO data set and the label file of each.

A label file has its image's name, and is in a folder ``labels`` beside ``images``, with the same folders inside, or beside its
image. Folders are matched without case, in the singular and the plural.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import files_of, folders_in, is_image, lines_of, walk
from vertebra.data.readers.image_names import resolve_images
from vertebra.data.readers.yolo_config import YAML_SUFFIXES, YoloConfig, config_files, locate, read_config
from vertebra.data.readers.yolo_labels import IMAGE_WORDS, LABEL_WORDS, NO_LABELS
from vertebra.data.splits import split_of
from vertebra.errors import DataError
from vertebra.preprocess.images import SUFFIXES

SAMPLED = 20  # label files that show whether a folder has YOLO's labels


@dataclass(frozen=True)
class Layout:
    """The images of a data set.

    Attributes:
        root: folder that holds them all.
        config: its description.
        sources: by split ("" without splits), folders of images, and lists of images.
        labels: name of the folder of labels that the user chose; empty for any of `LABEL_WORDS`.
        inside: the folder that paths in lists and the description may not leave; None if they may.
        missing: entries of the description that do not exist.
        further: more descriptions in the folder.
    """

    root: Path
    config: YoloConfig
    sources: Mapping[str, Sequence[Path]]
    labels: str = ""
    inside: Path | None = None
    missing: tuple[str, ...] = ()
    further: tuple[str, ...] = ()

    @property
    def other_labels(self) -> bool:
        """Whether the labels are of a folder that the description does not name."""
        return bool(self.labels) and self.labels.lower() not in LABEL_WORDS

    def images(self, split: str, notes: list[Note]) -> list[str]:
        """The images of a split, in the order of its sources, each once.

        Raises:
            DataError: a list names no image that exists.
        """
        images: list[str] = []
        for source in self.sources[split]:
            images += _images_below(source) if source.is_dir() else self._listed(source, notes)
        return list(dict.fromkeys(images))

    def _listed(self, file: Path, notes: list[Note]) -> list[str]:
        names = [line.strip() for line in lines_of(file)]
        names = [name[2:] if name.startswith("./") else name for name in names if name]
        if not names:
            return []
        folders = [file.parent, self.root]
        if self.inside is None:  # a list may lead anywhere if the user named the description itself
            folders += [parent for name in names[:1] for parent in Path(name).parents[:1] if parent.is_dir()]
        top = Path(os.path.commonpath([folder.absolute() for folder in folders]))
        resolved = resolve_images(names, folders, top, file, notes)
        return [f"{top}/{name}" for name in resolved if name]


def _images_below(folder: Path) -> list[str]:
    """All images in a folder and the folders below, by path."""
    images: list[str] = []
    for parent, inner, names in walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        images += [f"{parent}/{name}" for name in names if is_image(name)]
    return sorted(images)


def find_layout(path: Path) -> Layout | None:
    """The images and labels of a data set; None if it is none of YOLO's.

    Args:
        path: a folder, a description, or a folder of labels beside the images.

    Raises:
        DataError: its description is damaged.
    """
    files = config_files(path)
    if files:
        return _described(files[0], path, tuple(file.name for file in files[1:]))
    if path.is_file():
        return None
    layout = _undescribed(path)
    return layout or _of_labels(path)


def further_labels(layout: Layout) -> list[str]:
    """Folders beside that of the labels that hold lines of YOLO too, as those of outlines beside those of boxes."""
    inner = folders_in(layout.root)
    if layout.labels or not any(folder.name.lower() in LABEL_WORDS for folder in inner):
        return []
    known = {*IMAGE_WORDS, *LABEL_WORDS}
    more = [folder for folder in inner if folder.name.lower() not in known and split_of(folder.name) is None]
    return [folder.name for folder in more if has_yolo_lines(folder, below=True)]


def has_yolo_lines(folder: Path, below: bool = False) -> bool:
    """Whether the first text files of a folder hold YOLO's lines: a whole number, then four numbers or more."""
    checked = 0
    for parent, inner, _ in walk(folder):
        if not below:
            inner.clear()
        for file in files_of(Path(parent), ".txt"):
            if file.stem.lower() in NO_LABELS:
                continue
            verdict = _like_labels(file)
            if verdict is not None:
                return verdict
            checked += 1
            if checked == SAMPLED:
                return False
    return False


def _like_labels(file: Path) -> bool | None:
    """Whether a file holds YOLO's lines; None if it is empty."""
    try:
        with file.open("rb") as opened:
            head = opened.read(4096)
        lines = [line.split() for line in head.decode("utf-8-sig").splitlines() if line.strip()]
        lines = lines[:-1] if len(head) == 4096 and len(lines) > 1 else lines
        numbers = [[float(word) for word in line] for line in lines[:5]]
    except (OSError, ValueError):
        return False
    return (
        all(len(line) >= 5 and line[0] == int(line[0]) for line in numbers if abs(line[0]) < 1e9) if numbers else None
    )


def _described(file: Path, path: Path, further: tuple[str, ...]) -> Layout:
    config = read_config(file)
    inside = None if path.is_file() else path
    base = file.parent
    if config.path:
        base = locate(file.parent, config.path, inside) or file.parent
        base = base if base.is_dir() else file.parent
    sources: dict[str, list[Path]] = {}
    missing: list[str] = []
    for split, entries in config.sources.items():
        for entry in entries:
            source = locate(base, entry, inside) or locate(file.parent, entry, inside)
            if source is None:
                missing.append(f"{split}: {entry}")
            else:
                sources.setdefault(split, []).append(source)
    if not sources:
        layout = _undescribed(file.parent)
        if layout is None:
            raise DataError(
                f"{file}: its images are not found ({'; '.join(missing[:3])}); searched in {base}"
                + (f". Paths out of {path} are read if you name {file} itself" if inside is not None else "")
            )
        return replace(layout, config=config, inside=inside, missing=tuple(missing), further=further)
    tops = [base, *(source if source.is_dir() else source.parent for each in sources.values() for source in each)]
    root = base if all(top.is_relative_to(base) for top in tops) else Path(os.path.commonpath(tops))
    return Layout(root, config, sources, inside=inside, missing=tuple(missing), further=further)


def _undescribed(path: Path, labels: str = "") -> Layout | None:
    """A folder without a description."""
    sources = _sources_by_folders(path, labels)
    if sources:
        lists = _lists(path)
        return Layout(path, YoloConfig(), lists or sources, labels, path)
    return None


def _sources_by_folders(path: Path, labels: str = "") -> dict[str, list[Path]]:
    """Folders of images that have YOLO's labels, by split."""
    direct = _image_folders(path, labels)
    if direct:
        parts = {split: folder for folder in folders_in(direct[0]) if (split := split_of(folder.name))}
        return {split: [folder] for split, folder in parts.items()} or {"": direct[:1]}
    by_split: dict[str, list[Path]] = {}
    for folder in folders_in(path):
        split = split_of(folder.name)
        if split is not None:
            inner = _image_folders(folder, labels) or ([folder] if _side_by_side(folder) else [])
            if inner:
                by_split.setdefault(split, []).append(inner[0])
    if by_split:
        return by_split
    for folder in (path, *(folder for folder in folders_in(path) if folder.name.lower().startswith("obj_"))):
        if _side_by_side(folder):
            return {"": [folder]}
    return {}


def _image_folders(path: Path, labels: str) -> list[Path]:
    """The folder of images in a folder, if one of YOLO's labels is beside it."""
    inner = folders_in(path)
    wanted = (labels,) if labels else LABEL_WORDS
    of_labels = [folder for folder in inner if (folder.name if labels else folder.name.lower()) in wanted]
    if not any(has_yolo_lines(folder, below=True) for folder in of_labels):
        return []
    return [folder for folder in inner if folder.name.lower() in IMAGE_WORDS]


def _side_by_side(folder: Path) -> bool:
    """Whether a folder has images with YOLO's labels beside them."""
    texts = {file.stem for file in files_of(folder, ".txt")}
    labeled = bool(texts) and any(file.stem in texts for file in files_of(folder, *SUFFIXES))
    return labeled and has_yolo_lines(folder)


def _lists(path: Path) -> dict[str, list[Path]]:
    """Lists of images in a folder, by split: Darknet's ``train.txt``, Ultralytics' ``autosplit_train.txt``."""
    lists: dict[str, list[Path]] = {}
    for file in files_of(path, ".txt"):
        split = split_of(file.stem)
        if split:
            with file.open("rb") as opened:
                line = opened.readline(4096).decode("utf-8-sig", "replace").strip()
            if is_image(line.replace("\\", "/").rpartition("/")[2]):
                lists.setdefault(split, []).append(file)
    return lists


def _of_labels(path: Path) -> Layout | None:
    """A folder of labels whose images are beside it: ``segments`` with ``images``."""
    if path.name.lower() in IMAGE_WORDS or not has_yolo_lines(path, below=True):
        return None
    siblings = [folder for folder in folders_in(path.parent) if folder.name.lower() in IMAGE_WORDS]
    if not siblings:
        return None
    files = [file for file in config_files(path.parent) if file.suffix.lower() in YAML_SUFFIXES]
    layout = _described(files[0], path.parent, ()) if files else _undescribed(path.parent, path.name)
    return None if layout is None else replace(layout, labels=path.name)
