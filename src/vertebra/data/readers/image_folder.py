"""Image folders: a folder's name is the class (``cat/1.jpg``), inside ``train``, ``val`` and ``test`` if there are splits."""

from __future__ import annotations

from pathlib import Path

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import class_ids, left_out
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import folders_in, has_yolo_labels, images_below, is_image
from vertebra.data.splits import split_of
from vertebra.errors import DataError


class ImageFolderReader(AnnotationReader):
    """Class folders."""

    name = "image_folder"
    summary = "class folders of images"
    holds = frozenset({"labels"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder has class folders with images, and no YOLO labels."""
        if not path.is_dir() or has_yolo_labels(path):
            return False
        parts = _split_folders(path)
        return any(images_below(folder) for part in (parts.values() or [path]) for folder in folders_in(part))

    def splits(self, path: Path) -> tuple[str, ...]:
        """The folders named as splits."""
        return tuple(_split_folders(path))

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The images of the class folders; those of classes that are not listed are left out.

        Raises:
            DataError: there is no class folder, or no image.
        """
        parts = _split_folders(path)
        names = sorted({folder.name for part in parts.values() or [path] for folder in folders_in(part)})
        if not names:
            raise DataError(f"{path}: no class folders; put the images of each class in a folder of its name")
        listed = dict(zip(names, class_ids(names, options.classes or names, path).tolist(), strict=True))
        builder = AnnotationBuilder(path, path)
        for name in names:
            builder.category(Category(name))
        skipped: dict[str, int] = {}
        for part, folder in parts.items() if parts and split is None else [(split or "", parts.get(split or "", path))]:
            files = {inner.name: images_below(inner) for inner in folders_in(folder)}
            if not any(files.values()):
                raise DataError(f"{folder}: no image in its class folders {', '.join(files)}")
            for name, images in files.items():
                if listed[name] < 0:
                    skipped[name] = skipped.get(name, 0) + len(images)
                    continue
                for image in images:
                    code = SPLITS.index(part) if part else -1
                    builder.label(builder.image(image.relative_to(path).as_posix(), split=code), name)
            builder.notes += _loose(folder)
        builder.notes[:0] = left_out(skipped, "image")
        return builder.build()


def _loose(folder: Path) -> list[Note]:
    """A note about images beside the class folders."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file() and is_image(entry.name))
    return [Note.of("image", "beside the class folders", "left out", names)] if names else []


def _split_folders(path: Path) -> dict[str, Path]:
    """The folders of the splits; empty if the sub-folders are the classes."""
    folders: dict[str, Path] = {}
    for folder in folders_in(path):
        split = split_of(folder.name)
        if split is not None and folders_in(folder):
            folders.setdefault(split, folder)
    return folders
