"""Lists folders: images, sub-folders, and the existing ones of many files."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.data.splits import split_of
from vertebra.errors import DataError
from vertebra.preprocess.images import SUFFIXES

SETTLED = 2_000_000_000  # nanoseconds without a change after which a folder's listing is kept
Item = TypeVar("Item", bound=Hashable)


def folders_in(path: Path) -> list[Path]:
    """Visible sub-folders, by name."""
    return [path / name for name in sorted(listing(path).folders) if not name.startswith(".")]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


@dataclass(frozen=True)
class Listing:
    """The names in a folder; ``files`` are all that are not folders."""

    folders: tuple[str, ...]
    files: tuple[str, ...]

    def with_suffixes(self, *suffixes: str) -> list[str]:
        """The names of the files with one of these suffixes (".xml"), without regard to case, sorted."""
        return sorted(name for suffix in suffixes for name in self.by_suffix.get(suffix, ()))

    @cached_property
    def by_suffix(self) -> Mapping[str, Sequence[str]]:
        """The files by their suffix in lower case, "" for those without one; in no order."""
        exact: dict[str, list[str]] = {}
        for name in self.files:
            dot = name.rfind(".")
            exact.setdefault(name[dot:] if dot >= 0 else "", []).append(name)
        groups: dict[str, list[str]] = {}
        for suffix, names in exact.items():
            groups.setdefault(suffix.lower(), []).extend(names)
        return groups


def listing(path: str | Path) -> Listing:
    """The names in a folder, which is read once until it changes: readers list the same folders, some with a million files.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    status = os.stat(path)  # noqa: PTH116  # of a string: a Path costs more than the call
    times = status.st_mtime_ns, status.st_ctime_ns  # a copy that keeps the first has another second
    fresh = time.time_ns() - max(times) < SETTLED  # may change again without another time
    return (_list.__wrapped__ if fresh else _list)(str(path), *times, status.st_dev, status.st_ino)


@lru_cache(maxsize=256)
def _list(path: str, *version: int) -> Listing:
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            (folders if _is_folder(entry) else files).append(entry.name)
    return Listing(tuple(folders), tuple(files))


def walk(path: str | Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """A folder and all below it, as `os.walk` has them, from listings that are kept; ``inner`` may be changed to leave folders out.

    Links to folders are named, but not followed; a folder that cannot be read is empty.
    """
    try:
        content = listing(path)
    except OSError:
        return
    top, inner, names = str(path), list(content.folders), list(content.files)
    yield top, inner, names
    for name in inner:
        below = name if top == "." else f"{top.rstrip(os.sep)}{os.sep}{name}"
        if not os.path.islink(below):  # noqa: PTH114  # thousands of folders: strings are faster
            yield from walk(below)


@lru_cache(maxsize=4096)
def folded_word(name: str) -> str:
    """A folder's name for comparison: without case, separators and the plural's s (``Img_Dirs`` is "imgdir")."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", name).casefold()).rstrip("s")


def folders_called(path: Path, words: Iterable[str]) -> list[Path]:
    """The sub-folders with one of these names, whatever their case, separators and number; in the order of the words."""
    ranks = {folded_word(word): rank for rank, word in reversed(list(enumerate(words)))}
    visible = [name for name in listing(path).folders if not name.startswith(".")]
    named = [(ranks[word], name) for name in visible if (word := folded_word(name)) in ranks]
    return [path / name for _, name in sorted(named)]


def split_folders(path: Path) -> dict[str, Path]:
    """The sub-folders that are named as a split, the first of each."""
    folders: dict[str, Path] = {}
    for folder in folders_in(path):
        split = split_of(folder.name)
        if split is not None:
            folders.setdefault(split, folder)
    return folders


def images_below(path: Path) -> list[Path]:
    """All image files in a folder and the folders below, by path."""
    return files_below(path, is_image)


def files_below(path: Path, wanted: Callable[[str], bool], deepest: int | None = None) -> list[Path]:
    """The files in a folder and the folders below whose names are wanted, by path; hidden folders are passed over.

    Args:
        deepest: how many folders deep; None for any number.
    """
    files = []
    for folder, inner, names in walk(path):
        ends = deepest is not None and depth_below(path, folder) >= deepest
        inner[:] = [] if ends else sorted(name for name in inner if not name.startswith("."))
        files += [Path(folder, name) for name in names if wanted(name)]
    return sorted(files)


def depth_below(path: Path, folder: str | Path) -> int:
    """How many folders deep a folder lies in another one: 0 for itself."""
    return len(Path(folder).relative_to(path).parts)


def any_below(path: Path, wanted: Callable[[str], bool]) -> bool:
    """Whether a folder or one below it has a file whose name is wanted."""
    return any(wanted(name) for _, _, names in walk(path) for name in names)


def is_image(name: str) -> bool:
    """Whether a file name is an image's."""
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and (dot + suffix).lower() in SUFFIXES and not name.startswith(".")


def has_yolo_labels(path: Path) -> bool:
    """Whether a folder has YOLO's text labels."""
    labels = path / "labels"
    return labels.is_dir() and next(labels.rglob("*.txt"), None) is not None


def file_names(path: Path) -> list[str]:
    """Names of the visible files in a folder, in order; none if it cannot be read."""
    try:
        return sorted(name for name in listing(path).files if not name.startswith("."))
    except (OSError, ValueError):  # no folder of this name, or a name that no folder can have
        return []


def files_of(path: Path, *suffixes: str) -> list[Path]:
    """The visible files in a folder with one of these suffixes (".csv"), without regard to case, by name; none if it cannot be
    read. In a folder of a million images this takes no time for other suffixes."""
    try:
        names = listing(path).with_suffixes(*suffixes)
    except (OSError, ValueError):  # no folder of this name, or a name that no folder can have
        return []
    return [path / name for name in names if not name.startswith(".")]


def relative(paths: Sequence[Path], root: Path) -> list[str]:
    """Paths relative to a folder, with forward slashes."""
    return [path.relative_to(root).as_posix() for path in paths]


def exist(root: Path, names: Sequence[str]) -> np.ndarray:
    """Checks which of many files exist, by listing each folder once.

    Args:
        names: paths relative to ``root``, with forward slashes.

    Returns:
        (n,) bool.
    """
    listed: dict[str, set[str]] = {}
    for folder in {name.rpartition("/")[0] for name in names}:
        parent = root / folder
        try:
            listed[folder] = {entry.name for entry in os.scandir(parent)}
        except (OSError, ValueError):  # no folder of this name, or a name that no folder can have
            listed[folder] = set()
    split = [name.rpartition("/") for name in names]
    return np.array([file in listed[folder] for folder, _, file in split], dtype=bool)


def lines_of(file: Path) -> list[str]:
    """The lines of a text file.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def without_copies(items: Sequence[Item], of: str, notes: list[Note]) -> list[Item]:
    """The entries of a list in their order, each once, with a note about the copies.

    Args:
        of: name of the list in the note.
    """
    different = list(dict.fromkeys(items))
    if len(different) < len(items):
        counts = Counter(items)
        twice = [item[0] if isinstance(item, tuple) else item for item in different if counts[item] > 1]
        names = [item.name if isinstance(item, Path) else str(item) for item in twice]
        notes.append(Note.of("line", f"of {of}, a copy of another,", "left out", names, len(items) - len(different)))
    return different
