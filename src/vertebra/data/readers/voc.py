"""Pascal VOC: one XML file for each image in ``Annotations``, images in ``JPEGImages``, lists in ``ImageSets/Main``.

XML files beside their images, in one folder or in one for each split, are read too. Box coordinates are used unchanged, as
edges in pixels: annotation tools write them this way, though the original VOC counts pixels from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.annotations.values import flag, whole_number
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import files_in, folders_in, is_image, lines_of, without_copies
from vertebra.data.splits import split_of
from vertebra.errors import DataError

LARGEST = 1_000_000  # maximum side of an image in pixels


@dataclass
class _Layout:
    """The files of a data set.

    Attributes:
        annotations: the XML files by split; the key is "" without splits.
        images: by the key that they share with their XML file, see `_key`.
        without: names of images without an XML file, by split.
    """

    annotations: dict[str, list[Path]]
    images: dict[str, Path]
    without: dict[str, list[str]] = field(default_factory=dict)


class VocReader(AnnotationReader):
    """Pascal VOC: XML files with boxes."""

    name = "voc"
    summary = "Pascal VOC (Annotations and JPEGImages)"
    holds = frozenset({"boxes"})

    def looks_like(self, path: Path) -> bool:
        """Whether a folder contains VOC's XML files."""
        if not path.is_dir():
            return False
        folders = [path / "Annotations", path, *(folder for folder in folders_in(path) if split_of(folder.name))]
        return any(files_in(folder, ".xml") for folder in folders if folder.is_dir())

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that have a list or a folder."""
        return tuple(name for name in _layout(path).annotations if name)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The boxes of all XML files of a split; "difficult" objects are crowd, and categories are sorted by name.

        Raises:
            DataError: there is no annotation, or an annotation is not valid VOC.
        """
        layout = _layout(path)
        chosen = {name: files for name, files in layout.annotations.items() if split in (None, name) or not name}
        builder = AnnotationBuilder(path, path)
        parsed = {name: _parsed(name, files, layout, builder.notes) for name, files in chosen.items()}
        used = {file for files in parsed.values() for file, _ in files}
        others = sorted({file for files in layout.annotations.values() for file in files} - used)
        roots = [root for files in parsed.values() for _, root in files] + [root for _, root in _parse(others, [])]
        for name in sorted({_name_of(entry) for root in roots for entry in root.iter("object")} - {""}):
            builder.category(Category(name))
        for name, files in parsed.items():
            for file, root in files:
                _add(file, root, layout.images[_key(file)].relative_to(path).as_posix(), name, builder)
        if not len(builder):
            raise DataError(f"{path}: no image with a readable XML file in split '{split or 'train'}'")
        annotations = builder.build()
        if not annotations.categories:
            raise DataError(f"{path}: its XML files mark no object at all")
        return annotations


def _layout(path: Path) -> _Layout:
    return _classic(path) if (path / "Annotations").is_dir() else _flat(path)


def _parsed(
    split: str, files: Sequence[Path], layout: _Layout, notes: list[Note]
) -> list[tuple[Path, ElementTree.Element]]:
    """The files of a split that have an image and can be read."""
    without = layout.without.get(split, [])
    if without:
        notes.append(Note.of("image", "without an annotation file", "left out", without))
    different = without_copies(files, f"the list of split '{split}'", notes)
    return _parse(_with_image(different, layout, notes), notes)


def _key(file: Path) -> str:
    """The key that an XML file and its image share: the split's folder, if any, and the stem."""
    return f"{file.parent.name}/{file.stem}" if split_of(file.parent.name) else file.stem


def _with_image(files: Sequence[Path], layout: _Layout, notes: list[Note]) -> list[Path]:
    without = [file.name for file in files if _key(file) not in layout.images]
    if without and len(without) == len(files):
        raise DataError(f"{files[0].parent}: none of its XML files has an image of the same name (first: {without[0]})")
    if without:
        notes.append(Note.of("annotation file", "without an image", "left out", without))
    return [file for file in files if _key(file) in layout.images]


def _parse(files: Sequence[Path], notes: list[Note]) -> list[tuple[Path, ElementTree.Element]]:
    """XML files with their content; a damaged file is left out with a note."""
    parsed, damaged = [], []
    for file in files:
        try:
            parsed.append((file, ElementTree.parse(file).getroot()))
        except (ElementTree.ParseError, ValueError, LookupError):  # the last two for encodings unknown to Python
            damaged.append(file.name)
    if damaged:
        notes.append(Note.of("annotation file", "that cannot be read as XML", "left out with its image", damaged))
    return parsed


def _name_of(entry: ElementTree.Element) -> str:
    return (entry.findtext("name") or "").strip()


def _add(file: Path, root: ElementTree.Element, image: str, split: str, builder: AnnotationBuilder) -> None:
    """Adds an image with its objects."""
    size = (_number(root, "size/height"), _number(root, "size/width"))
    code = SPLITS.index(split) if split else -1
    row = builder.image(image, size=size, split=code, file=file.relative_to(builder.root).as_posix())
    for entry in root.iter("object"):
        name = _name_of(entry)
        if not name:
            raise DataError(f"{file}: an object has no <name>; add it or remove the object")
        try:
            box = tuple(float(entry.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax"))
        except ValueError:
            raise DataError(f"{file}: object '{name}' has no <bndbox> with four numbers; add it or remove it") from None
        difficult = flag(entry.findtext("difficult") or "0")
        if difficult is None:
            which = "whose 'difficult' is neither 0 nor 1"
            builder.notes.append(Note.of("object", which, "taken as 0", [file.name]))
        builder.object(row, name, box=box, crowd=bool(difficult))


def _number(root: ElementTree.Element, tag: str) -> int:
    number = whole_number(root.findtext(tag))
    return number if number is not None and 0 < number <= LARGEST else 0


def _classic(path: Path) -> _Layout:
    """``Annotations`` with ``JPEGImages`` or ``images``, and ``ImageSets/Main`` if it exists."""
    annotations = {file.stem: file for file in sorted((path / "Annotations").glob("*.xml"))}
    folders = [path / name for name in ("JPEGImages", "images", "Images") if (path / name).is_dir()]
    if not folders:
        raise DataError(f"{path}: there is Annotations, but no folder JPEGImages or images beside it")
    images = {file.stem: file for file in sorted(folders[0].iterdir()) if is_image(file.name)}
    listed = {name: path / "ImageSets" / "Main" / f"{name}.txt" for name in ("train", "val", "test", "trainval")}
    lists = {name: _ids(file) for name, file in listed.items() if file.is_file()}
    together = lists.pop("trainval", [])
    if together and "train" not in lists:
        lists["train"] = together
    if not lists:
        return _Layout({"": list(annotations.values())}, images, {"": sorted(set(images) - set(annotations))})
    missing = {split: [name for name in ids if name not in annotations] for split, ids in lists.items()}
    listed_files = {name: [annotations[item] for item in ids if item in annotations] for name, ids in lists.items()}
    return _Layout(listed_files, images, missing)


def _ids(file: Path) -> list[str]:
    lines = (line.split() for line in lines_of(file))
    return [words[0] for words in lines if words and words[1:] != ["-1"]]


def _flat(path: Path) -> _Layout:
    """XML files beside their images, in one folder or in one for each split."""
    split_folders = {split: folder for folder in folders_in(path) if (split := split_of(folder.name))}
    annotations = {split: sorted(folder.glob("*.xml")) for split, folder in (split_folders or {"": path}).items()}
    folders = list(split_folders.values()) or [path]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if is_image(file.name)]
    return _Layout(annotations, {_key(file): file for file in files})
