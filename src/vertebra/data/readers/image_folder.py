"""Image folders: a folder's name is the class (``cat/1.jpg``), inside ``train``, ``val`` and ``test`` if there are splits.

Images in folders below a class folder have its class, too. Class folders may lie in a folder ``images``; lists such as
``meta/train.txt`` then divide them. Folders that are plainly something else are refused: those called ``images``, ``labels`` or
``masks``, and images that lie in the folders of the splits themselves. Folders that are hardly classes are read only if the
format is named: a single one, one beside annotations of its images' names, parts of one folder, and known sets that are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import class_ids, left_out, sorted_names
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.class_folder_layout import (
    class_folders,
    class_root,
    doubts,
    flat_folders,
    folders_of_splits,
    has_direct_image,
    has_image,
    masks_among,
    no_classes,
)
from vertebra.data.readers.files import folders_in, has_yolo_labels, images_below, is_image, lines_of, listing, walk
from vertebra.data.readers.flat_splits import Labeled, flat_splits
from vertebra.data.readers.name_lists import FileNames, read_names
from vertebra.data.readers.split_lists import NUMBERED_LISTS, list_files, lists_images, numbered_splits
from vertebra.data.readers.table_sources import of_split
from vertebra.data.splits import split_of
from vertebra.errors import DataError

LIST_FOLDERS = (".", "meta", "splits", "lists", "annotations")
UNREAD = (".mat", ".json", ".txt")  # files that may hold lists or annotations
ABOUT = "readme|licen|requirement|classes|images.txt|train_test_split"
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})


class ImageFolderReader(AnnotationReader):
    """Class folders."""

    name = "image_folder"
    summary = "class folders of images"
    suffixes = (".jpg", ".jpeg", ".png")
    holds = frozenset({"labels"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder has class folders with images, and is not plainly of another format."""
        if not path.is_dir() or has_yolo_labels(path):
            return False
        return any(has_image(folder) for folder in class_folders(class_root(path))) and not self.refusal(path)

    def refusal(self, path: Path) -> str:
        """Why the folders of a data set are no classes, or hardly are, and which path was probably meant."""
        return no_classes(path) or doubts(path)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The folders named as splits, or the lists of splits."""
        root = class_root(path)
        parts = folders_of_splits(root)
        if not parts:
            return tuple(_lists(path, [])) or tuple(sorted(set(numbered_splits(path).values())))
        return tuple(dict.fromkeys([*parts, *flat_splits(path, flat_folders(root, parts), _names_in(parts), [])]))

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The images of the class folders; those of classes that are not listed are left out.

        Raises:
            DataError: there is no class folder, or no image, or the folders are plainly no classes.
        """
        refusal = no_classes(path)
        if refusal:
            raise DataError(f"{path}: {refusal}")
        root = class_root(path)
        parts = folders_of_splits(root)
        names = _names_in(parts or {"": root})
        if not names:
            raise DataError(f"{path}: no class folders; put the images of each class in a folder of its name")
        listed = dict(zip(names, class_ids(names, options.classes or names, path).tolist(), strict=True))
        builder = AnnotationBuilder(root, path)
        for name in names:
            builder.category(Category(name))
        flat = flat_splits(path, flat_folders(root, parts), names, builder.notes) if parts else {}
        lists = {} if parts else _lists(path, builder.notes)
        numbered = {} if parts or lists else numbered_splits(path)
        skipped: dict[str, int] = {}
        codes: dict[str, int] = {}
        for part, folder in {**parts, **dict.fromkeys(flat, root)}.items() if parts else [("", root)]:
            if parts and split not in (None, part):
                continue
            files = _files_of_part(folder, flat.get(part), names)
            if not any(files.values()):
                raise DataError(f"{folder}: no image in its class folders {', '.join(files)}")
            builder.notes += [] if part in flat else _about(folder, listed)
            codes |= _listed_codes(path, root, files, lists, builder.notes) if lists else {}
            codes |= {name: SPLITS.index(of) for name, of in numbered.items()}
            masks = masks_among([image for images in files.values() for image in images])
            if masks:
                names_of_masks = sorted(mask.name for mask in masks)
                builder.notes.append(Note.of("mask", "beside an image of its name", "left out", names_of_masks))
            for name, images in files.items():
                if listed[name] < 0:
                    skipped[name] = skipped.get(name, 0) + len(images)
                    continue
                for image in [image for image in images if image not in masks]:
                    file = image.relative_to(root).as_posix()
                    code = SPLITS.index(part) if part else codes.get(file, -1)
                    builder.label(builder.image(file, split=code), name)
        builder.notes[:0] = left_out(skipped, "image")
        builder.notes += [*_entered(root, parts), *(_loose(root) if parts else []), *_unread(path, root)]
        if numbered:
            builder.notes.append(Note.of("split", "of the images", "taken from a list", [NUMBERED_LISTS[1]]))
        annotations = builder.build()
        return of_split(annotations, split, path) if codes else annotations


def _names_in(parts: Mapping[str, Path]) -> list[str]:
    """The classes in the folders of all splits."""
    return sorted_names({folder.name for part in parts.values() for folder in folders_in(part)})


def _files_of_part(folder: Path, labeled: Labeled | None, names: Sequence[str]) -> dict[str, list[Path]]:
    """The images of a split by class: those of its class folders, or of its list."""
    if labeled is None:
        return {inner.name: images_below(inner) for inner in folders_in(folder)}
    files: dict[str, list[Path]] = {name: [] for name in names}
    for image, name in labeled:
        files[name].append(image)
    return files


def _lists(path: Path, notes: list[Note]) -> dict[str, Path]:
    """The lists of the splits; those that are empty, or have other text, are left aside with a note."""
    files = list_files(path, LIST_FOLDERS)
    lists = {split: file for split, file in files.items() if lists_images(file)}
    other = [file.name for split, file in files.items() if split not in lists]
    if other:
        notes.append(Note.of("text file", "with the name of a list, but no names of images,", "left aside", other))
    return lists


def _listed_codes(
    path: Path, root: Path, files: Mapping[str, Sequence[Path]], lists: Mapping[str, Path], notes: list[Note]
) -> dict[str, int]:
    """The number of the split of each image that a list names."""
    by_name = {
        image.relative_to(root).with_suffix("").as_posix(): image for images in files.values() for image in images
    }
    names = FileNames(by_name)
    codes: dict[str, int] = {}
    unknown: list[str] = []
    for split, file in lists.items():
        listed = read_names(file, lines_of(file), names)
        unknown += listed.unknown
        codes |= {image.relative_to(root).as_posix(): SPLITS.index(split) for image in listed.files}
    shown = [file.relative_to(path).as_posix() for file in lists.values()]
    notes.append(Note.of("split", "of the images", "taken from a list", shown))
    if unknown:
        notes.append(Note.of("line", "of a list that names no image", "left out", unknown))
    return codes


def _about(folder: Path, listed: Mapping[str, int]) -> list[Note]:
    """Notes about what is in the class folders of a split besides images, and beside them."""
    inner = [below for below in folders_in(folder) if listed[below.name] >= 0]
    deep = [below.name for below in inner if not has_direct_image(below) and len(folders_in(below)) > 1]
    notes = [Note.of("class folder", "with images in folders below only", "taken as one class", deep)] if deep else []
    return [*notes, *_not_images(inner), *_loose(folder)]


def _unread(path: Path, root: Path) -> list[Note]:
    """A note about files that may hold lists or annotations, and a folder that was entered."""
    beside = [name for top in dict.fromkeys((path, root)) for name in listing(top).with_suffixes(*UNREAD)]
    names = [name for name in beside if not re.search(ABOUT, name.lower()) and not split_of(Path(name).stem)]
    notes = [Note.of("file", "beside the class folders", "not read", names)] if names else []
    which = "of images, with the class folders in it,"
    return [*notes, Note.of("folder", which, "entered", [root.name])] if root != path else notes


def _loose(folder: Path) -> list[Note]:
    """A note about images beside the class folders."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and is_image(entry.name))
    return [Note.of("image", "beside the class folders", "left out", names)] if names else []


def _not_images(folders: Sequence[Path]) -> list[Note]:
    """A note about files in class folders that are no images, as those of formats that are not read."""
    names = [
        name
        for folder in folders
        for _, _, files in walk(folder)
        for name in files
        if not (is_image(name) or name.startswith(".") or name.lower() in SYSTEM_FILES)
    ]
    return [Note.of("file", "of a class folder that is no image", "left out", sorted(names))] if names else []


def _entered(path: Path, parts: Mapping[str, Path]) -> list[Note]:
    """Notes about doubled folders of splits, and about folders beside them."""
    doubled = [folder.relative_to(path).as_posix() for folder in parts.values() if folder.parent != path]
    used = {folder.relative_to(path).parts[0] for folder in parts.values()}
    used |= {folder.name for folder in flat_folders(path, parts).values()}
    others = (
        [folder.name for folder in folders_in(path) if folder.name not in used and has_image(folder)] if parts else []
    )
    notes = []
    if doubled:
        notes.append(Note.of("folder", "of a split, alone in one of the same split,", "taken for the split", doubled))
    if others:
        notes.append(Note.of("folder", "beside those of the splits", "left out", others))
    return notes
