"""Finds the images that a table names, also those named without an ending."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import file_names, folders_in, is_image
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.splits import split_of
from vertebra.preprocess.images import SUFFIXES

MOST_FOLDERS = 300


def data_root(path: Path) -> Path:
    """The folder of a data set: itself, or that of a table; the folder above it if images are only there."""
    if path.is_dir():
        return path
    inside = any(_has_image(folder) for folder in ImageSearch(path.parent, path).folders)
    return path.parent if inside else path.parent.parent


def not_named(root: Path, images: Sequence[str]) -> list[str]:
    """The images beside those that tables name, in the same folders.

    Args:
        root: folder of the data set.
        images: the named ones, relative to it.
    """
    named = set(images)
    folders = dict.fromkeys(image.rpartition("/")[0] for image in images)
    beside = [
        f"{folder}/{name}" if folder else name
        for folder in folders
        for name in file_names(root / folder)
        if is_image(name)
    ]
    return [image for image in beside if image not in named]


class ImageSearch:
    """The folders in which a table's images may be.

    Args:
        root: the data set's folder.
        file: the table.
        split: of the table, if its name has one: images are then not searched in the folders of other splits.
    """

    def __init__(self, root: Path, file: Path, split: str = "") -> None:
        self.root, self.file, self._split = root, file, split

    @cached_property
    def folders(self) -> list[Path]:
        """The folders, the likely ones first; they are listed at the first use."""
        tops = list(dict.fromkeys([self.file.parent, self.root]))
        inner = [folder for top in tops for folder in folders_in(top)[:MOST_FOLDERS]]
        deeper = [folder for top in inner for folder in folders_in(top)[:MOST_FOLDERS]]
        likely = image_folders(tops, self._split)
        fitting = (None, self._split)
        chosen = [folder for folder in (*inner, *deeper) if not self._split or split_of(folder.name) in fitting]
        return list(dict.fromkeys([*likely, *chosen]))[:MOST_FOLDERS]

    def are_images(self, names: Sequence[str]) -> bool:
        """Whether any of a few names is an image's."""
        endings = ("", *sorted(SUFFIXES), *(suffix.upper() for suffix in sorted(SUFFIXES)))
        for name in names[:3]:
            slashed = name.replace("\\", "/")
            ends = [name, slashed, slashed.rpartition("/")[2]]
            known = is_image(ends[2])
            for end in dict.fromkeys(ends):
                for folder in self.folders:
                    try:
                        if any(_is_file(folder / f"{end}{ending}") for ending in (("",) if known else endings[1:])):
                            return True
                    except (OSError, ValueError):  # a name that no file can have
                        break
        return False

    def has(self, name: str) -> bool:
        """Whether an image of just this name exists."""
        return any(_is_file(folder / name) for folder in self.folders)

    def resolve(self, names: Sequence[str], notes: list[Note]) -> list[str]:
        """The path of each image relative to the root, "" for a missing one.

        Raises:
            DataError: none of the images exists.
        """
        bare = [name for name in names if not is_image(name.rpartition("/")[2])]
        files = self._by_stem() if bare else {}
        completed = [self._completed(name, files) for name in names]
        return resolve_images(completed, self.folders, self.root, self.file, notes)

    def _by_stem(self) -> dict[str, str]:
        """The images' file names by their stems."""
        files: dict[str, str] = {}
        for folder in self.folders:
            for name in file_names(folder):
                if is_image(name):
                    files.setdefault(name.rpartition(".")[0], name)
        return files

    @staticmethod
    def _completed(name: str, files: dict[str, str]) -> str:
        folder, slash, stem = name.rpartition("/")
        return name if is_image(stem) else f"{folder}{slash}{files.get(stem, stem)}"


def _is_file(path: Path) -> bool:
    return path.is_file()


def _has_image(folder: Path) -> bool:
    return any(map(is_image, file_names(folder)))
