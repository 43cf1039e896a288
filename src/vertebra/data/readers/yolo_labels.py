"""Pairs images with YOLO's label files."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vertebra.data.readers.files import folders_in, is_image

IMAGE_WORDS = frozenset({"images", "image", "imgs", "img", "jpegimages"})
LABEL_WORDS = ("labels", "label")
NO_LABELS = frozenset({"classes", "train", "val", "valid", "test", "notes", "readme", "license", "requirements"})


@dataclass
class LabelFolders:
    """Pairs images with label files; each folder is listed once.

    Attributes:
        chosen: name of the folder of labels; empty for any of `LABEL_WORDS`.
    """

    chosen: str = ""
    _pairs: dict[str, _Pair] = field(default_factory=dict)

    def file_of(self, image: str) -> str | None:
        """The label file of an image; None if it has none."""
        folder, _, name = image.rpartition("/")
        if folder not in self._pairs:
            self._pairs[folder] = _Pair(Path(folder), _label_folder(Path(folder), self.chosen))
        pair = self._pairs[folder]
        file = pair.labels.get(_key(name))
        return None if file is None else f"{pair.folder}/{file}"

    def without_image(self) -> list[str]:
        """Label files in the folders used so far that have no image."""
        return sorted(name for pair in self._pairs.values() for name in pair.without_image)

    def searched(self) -> list[str]:
        """The folders of labels used so far."""
        return list(dict.fromkeys(str(pair.folder) for pair in self._pairs.values()))


@dataclass(frozen=True)
class _Pair:
    """A folder of images, and that of their labels."""

    images: Path
    folder: Path

    @cached_property
    def labels(self) -> dict[str, str]:
        """The label files by key."""
        names = sorted(entry.name for entry in self.folder.iterdir()) if self.folder.is_dir() else []
        return {_key(name): name for name in names if name.lower().endswith(".txt")}

    @property
    def without_image(self) -> list[str]:
        keys = {_key(entry.name) for entry in self.images.iterdir() if is_image(entry.name)}
        beside = self.images == self.folder
        names = [name for key, name in self.labels.items() if key not in keys and key.lower() not in NO_LABELS]
        return [] if beside else names


def _label_folder(folder: Path, chosen: str) -> Path:
    """The folder of the labels of a folder of images."""
    parts = folder.parts
    for number in range(len(parts) - 1, 0, -1):
        if parts[number].lower() not in IMAGE_WORDS:
            continue
        top, inner = Path(*parts[:number]), parts[number + 1 :]
        labels = [entry for entry in folders_in(top) if entry.name.lower() in LABEL_WORDS]
        siblings = [top / chosen] if chosen else labels
        candidates = [candidate for sibling in siblings for candidate in (sibling.joinpath(*inner), sibling)]
        for candidate in candidates:
            if _has_text_files(candidate):
                return candidate
        return folder if not candidates or _has_text_files(folder) else candidates[0]
    return folder


def _has_text_files(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(".txt") for entry in entries)


def _key(name: str) -> str:
    """What an image and its label file share: the name without its ending, in one Unicode form."""
    return unicodedata.normalize("NFC", name.rpartition(".")[0])
