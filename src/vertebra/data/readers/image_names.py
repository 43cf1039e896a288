"""Finds the images that an annotation file names, also by names written on another computer.

A reader calls `resolve_images` once for all names of a file::

    folders = image_folders([file.parent, root], split)
    paths = resolve_images(names, folders, root, file, notes)  # relative to root, "" for an image that is missing
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path
from urllib.parse import unquote

from vertebra.annotations.notes import Note, plural
from vertebra.data.readers.files import folders_in, listing, walk
from vertebra.data.splits import split_of
from vertebra.errors import DataError

IMAGE_FOLDERS = frozenset({"image", "images", "img", "imgs", "jpegimages", "data", "photos", "pictures", "frames"})
MOST_FOLDERS = 1000  # folders below the root that are searched for names found nowhere else
_OF_ANNOTATIONS = ("mask", "label", "annotation", "segmentation", "panoptic", "groundtruth")


def image_folders(tops: Iterable[Path], split: str = "", names: Iterable[str] = ()) -> list[Path]:
    """The folders that image names are likely relative to, the likeliest first.

    Args:
        tops: folders of the data set, as that of the annotation file and that which the user gave.
        split: of the annotation file, if it has one: folders of its name are searched too.
        names: further names of folders with images.

    Returns:
        The tops, those of their sub-folders that are called "images" or alike, and those named as the split in either.
    """
    wanted = IMAGE_FOLDERS | {name.lower() for name in names}
    folders: list[Path] = []
    for top in dict.fromkeys(tops):
        inner = folders_in(top) if top.is_dir() else []
        of_images = [folder for folder in inner if folder.name.lower() in wanted]
        of_split = [folder for folder in inner if split and split_of(folder.name) == split]
        deeper = [folder for folder in of_split for folder in folders_in(folder) if folder.name.lower() in wanted]
        deeper += [
            folder for folder in of_images for folder in folders_in(folder) if split and split_of(folder.name) == split
        ]
        folders += [top, *of_images, *of_split, *deeper]
    return list(dict.fromkeys(folders))


def resolve_images(
    names: Sequence[str],
    folders: Sequence[Path],
    root: Path,
    where: Path | str,
    notes: list[Note],
    noun: str = "image",
    anywhere: bool = True,
) -> list[str]:
    """The file of each image name.

    A name is tried as it is, with backslashes as slashes, unquoted as in a URL, then without regard to case and Unicode form;
    then the longest end of its path that exists in a folder is taken. What is read otherwise than as it is written gets a
    counted note, and so do missing images. No file outside of the root is taken. Each folder is listed once.

    Args:
        names: as the annotation file has them.
        folders: that names may be relative to, see `image_folders`.
        root: folder of the data set; the folders are in it.
        where: the annotation file, for messages.
        notes: gets new notes.
        noun: what the files are, in the singular.
        anywhere: whether the ends of paths are searched in all folders below.

    Returns:
        The path of each image relative to the root, with forward slashes; "" for a missing one.

    Raises:
        DataError: none of the images exists.
    """
    search = _Search(list(names), folders, root, noun)
    steps: list[tuple[str, str, Callable[[str], str], bool]] = [
        ("", "", str, False),
        ("named with backslashes", "read with slashes", _slashes, False),
        ("whose name is quoted as in a URL", "read without the quoting", _plain, False),
        ("whose name differs from the file's in case or in Unicode form", "taken", _slashes, True),
        ("whose name is quoted as in a URL", "read without the quoting", _plain, True),
    ]
    for which, done, change, folded in steps:
        search.note(which, done, search.match(change, folded), notes)
    which, done = "named by a path that does not exist here", "taken by the end of the path"
    search.note(which, done, search.match_ends() if anywhere else [], notes)
    missing = [name for name, path in zip(names, search.paths, strict=True) if not path]
    if missing and len(missing) == len(names):
        tried = ", ".join(dict.fromkeys(str(folder) for folder in list(folders)[:6]))
        raise DataError(f"{where}: its {plural(noun)} are not found (the first is {missing[0]}); searched in {tried}")
    if missing:
        notes.append(Note.of(noun, "that the file names", "not found and left out", missing))
    return search.paths


class _Search:
    """The names without a file so far, and the listings of folders."""

    def __init__(self, names: list[str], folders: Sequence[Path], root: Path, noun: str) -> None:
        self.names = names
        self.noun = noun
        self.paths = [""] * len(names)
        self.left = list(range(len(names)))
        self.root = os.path.normpath(root.absolute())
        self.listings: dict[str, _Listing] = {}
        self.folders = self._ranked([os.path.normpath(folder.absolute()) for folder in folders])

    def note(self, which: str, done: str, numbers: Sequence[int], notes: list[Note]) -> None:
        """Adds a note about the names that a step resolved."""
        if which and numbers:
            notes.append(Note.of(self.noun, which, done, [self.names[number] for number in numbers]))

    def match(self, change: Callable[[str], str], folded: bool) -> list[int]:
        """Searches for the names without a file in all folders; the numbers of those that are there.

        Args:
            change: rewrites a name first.
            folded: without regard to case and Unicode form.
        """
        matched: list[int] = []
        for parent, files in self._grouped(change).items():
            for folder in self.folders:
                inner = self._inside(folder, parent, folded)
                if inner is None or not files:
                    continue
                listing, prefix = self._listing(inner), self._prefix(inner)
                left = []
                for number, file in files:
                    name = file if file in listing.files else listing.file(file, folded)
                    if name:
                        self.paths[number] = prefix + name
                        matched.append(number)
                    else:
                        left.append((number, file))
                files = left
        return sorted(matched)

    def match_ends(self) -> list[int]:
        """Takes the longest end of each path that exists below the folders; the numbers of those names.

        If two files have ends of one length, or two different names end as one file, none is taken.
        """
        groups = self._grouped(_plain)
        below = self._below() if groups else {}
        before = Counter(self.paths)
        names_of: dict[str, set[str]] = {}
        matched: dict[int, str] = {}
        for parent, files in groups.items():
            parts = _folded(parent).split("/")
            for number, file in files:
                path = self._longest_end(below.get(_folded(file), ()), parts)
                if path:
                    matched[number] = path
                    names_of.setdefault(path, set()).add(self.names[number])
        for number, path in matched.items():
            if len(names_of[path]) == 1 and not before[path]:
                self.paths[number] = path
        return sorted(number for number in matched if self.paths[number])

    def _ranked(self, folders: list[str]) -> list[str]:
        """The folders, those first that hold most of the names as they are."""
        counts = dict.fromkeys(folders, 0)
        for parent, files in self._grouped(str).items():
            names = {name for _, name in files}
            for folder in folders:
                inner = self._inside(folder, parent, False)
                if inner is not None:
                    counts[folder] += len(names & self._listing(inner).files)
        return sorted(folders, key=lambda folder: -counts[folder])

    def _grouped(self, change: Callable[[str], str]) -> dict[str, list[tuple[int, str]]]:
        """The numbers and file names of the names without a file, by their folders."""
        groups: dict[str, list[tuple[int, str]]] = {}
        self.left = [number for number in self.left if not self.paths[number]]
        for number in self.left:
            parent, slash, file = change(self.names[number]).rpartition("/")
            groups.setdefault(parent or slash, []).append((number, file))
        return groups

    def _below(self) -> dict[str, list[tuple[list[str], int, str]]]:
        """The files below the folders by their folded name: the parts of their folder, its rank, and their path."""
        ranks = {folder: rank for rank, folder in enumerate(self.folders)}
        inner = [folder for top in self.folders for folder in islice(_folders_below(top), MOST_FOLDERS)]
        files: dict[str, list[tuple[list[str], int, str]]] = {}
        for folder in list(dict.fromkeys([*self.folders, *inner]))[:MOST_FOLDERS]:
            prefix = self._prefix(folder)
            parts = _folded(prefix.rstrip("/")).split("/")
            for name in self._listing(folder).files:
                files.setdefault(_folded(name), []).append((parts, ranks.get(folder, len(ranks)), prefix + name))
        return files

    def _longest_end(self, candidates: Sequence[tuple[list[str], int, str]], parts: Sequence[str]) -> str:
        """The file with the longest end in common with a path, "" if there is none, or no single one."""
        best: dict[tuple[int, int], list[str]] = {}
        for folder, rank, path in candidates:
            pairs = zip(reversed(folder), reversed(parts), strict=False)
            common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            likely = rank < len(self.folders)
            if common or likely or split_of(folder[-1]) is None:  # no file of the same name of another split
                best.setdefault((-common, rank), []).append(path)
        nearest = best[min(best)] if best else []
        return nearest[0] if len(nearest) == 1 else ""

    def _inside(self, folder: str, parent: str, folded: bool) -> str | None:
        """A folder below another; None if it does not exist, or is outside of the root."""
        path = os.path.normpath(Path(folder, parent))
        if path != self.root and not path.startswith(self.root.rstrip(os.sep) + os.sep):
            return None
        if self._listing(path).files or not folded:
            return path
        current = self.root
        for part in Path(os.path.relpath(path, self.root)).parts:
            name = self._listing(current).folder(part)
            if not name:
                return None
            current = str(Path(current, name))
        return current

    def _prefix(self, folder: str) -> str:
        """What the paths of a folder's files begin with."""
        path = Path(os.path.relpath(folder, self.root)).as_posix()
        return "" if path == "." else f"{path}/"

    def _listing(self, folder: str) -> _Listing:
        if folder not in self.listings:
            self.listings[folder] = _Listing(folder)
        return self.listings[folder]


class _Listing:
    """The files and folders in a folder."""

    def __init__(self, folder: str) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()
        try:
            listed = listing(folder)
            self.folders, self.files = set(listed.folders), set(listed.files)
        except (OSError, ValueError):  # no folder of this name, or a name that no folder can have
            pass

    def file(self, name: str, folded: bool) -> str:
        """The file of a name, "" if there is none."""
        if name in self.files:
            return name
        return self._folded_files.get(_folded(name), "") if folded else ""

    def folder(self, name: str) -> str:
        """The folder of a name, "" if there is none."""
        return name if name in self.folders else self._folded_folders.get(_folded(name), "")

    @cached_property
    def _folded_files(self) -> dict[str, str]:
        return _by_folded(self.files)

    @cached_property
    def _folded_folders(self) -> dict[str, str]:
        return _by_folded(self.folders)


def _by_folded(names: set[str]) -> dict[str, str]:
    """Names by their folded form, without those that share it."""
    folded = {name: _folded(name) for name in names}
    counts = Counter(folded.values())
    return {form: name for name, form in folded.items() if counts[form] == 1}


def _folders_below(folder: str) -> Iterator[str]:
    """All folders below one, without those of masks and labels."""
    for path, inner, _ in walk(folder):
        visible = [name for name in inner if not name.startswith(".")]
        inner[:] = sorted(name for name in visible if not any(word in name.lower() for word in _OF_ANNOTATIONS))
        yield path


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _plain(name: str) -> str:
    """A name from a URL: without its scheme, its query and its quoting."""
    path = _slashes(name)
    if "://" in path:
        path = path.partition("://")[2].partition("?")[0].partition("#")[0]
    return unquote(path)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
