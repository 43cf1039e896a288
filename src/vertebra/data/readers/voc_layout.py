"""Finds the XML files of a VOC data set, their images, and the lists of its splits.

XML files lie in ``Annotations``, in ``xmls`` inside, or beside their images; images in ``JPEGImages`` or ``images``; both may
have a folder for each split, or lie in each split's folder. Names of folders are matched without case, in singular and plural.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import (
    files_below,
    files_of,
    folders_called,
    images_below,
    is_image,
    lines_of,
    split_folders,
    walk,
    without_copies,
)
from vertebra.data.readers.name_lists import FileNames, Listed, read_names
from vertebra.data.readers.split_lists import list_files
from vertebra.data.readers.voc_xml import is_voc
from vertebra.errors import DataError

XML_FOLDERS = ("Annotations", "annotation", "annots", "annot", "xmls", "xml", "labels", "bboxes")
INNER_FOLDERS = ("xmls", "xml", "Annotations", "bboxes")
IMAGE_FOLDERS = ("JPEGImages", "images", "imgs", "image", "JPEGImage", "PNGImages", "pictures", "photos", "data")
LIST_FOLDERS = ("ImageSets/Main", "ImageSets", ".")
SAMPLED = 5  # XML files that show the format


@dataclass(frozen=True)
class Part:
    """XML files of one folder, with the folders of their images.

    Attributes:
        split: "" where the folder is of no split.
        folder: of the XML files, which may lie in folders inside.
        images: folders of the images, the likeliest first.
    """

    split: str
    folder: Path
    images: tuple[Path, ...]


@dataclass
class Layout:
    """The files of a data set.

    Attributes:
        files: the XML files of each split; the key is "" without splits.
        images: the image of each XML file; without those that have none.
        without: names of images without an XML file, by split.
        notes: about lines of lists.
        names: the images by name.
    """

    files: dict[str, list[Path]]
    images: dict[Path, Path]
    without: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[Note]] = field(default_factory=dict)
    names: list[FileNames] = field(default_factory=list)

    def image_of(self, file: Path, name: str) -> Path | None:
        """The image of an XML file: that of its name, else that which it names itself."""
        if file in self.images or not name.strip():
            return self.images.get(file)
        return next((image for names in self.names if (image := names.match(name.strip()))), None)


def find_parts(path: Path, split: str = "") -> list[Part]:
    """The folders of XML files in a folder; none if it has none."""
    for holder in folders_called(path, XML_FOLDERS):
        for folder in (holder, *folders_called(holder, INNER_FOLDERS)):
            inner = {name: below for name, below in split_folders(folder).items() if _has_xml(below)}
            if inner and not split:
                return [Part(name, below, _image_folders(path, below, name)) for name, below in inner.items()]
            if _has_xml(folder):
                return [Part(split, folder, _image_folders(path, folder, split))]
    if _has_xml(path, below=False):
        return [Part(split, path, _image_folders(path, path, split))]
    if split:
        return []
    return [part for name, folder in split_folders(path).items() for part in find_parts(folder, name)]


def find_layout(path: Path, list_folders: Sequence[str] = LIST_FOLDERS) -> Layout:
    """The files of a data set.

    Args:
        path: its folder.
        list_folders: those whose lists divide it, the first that has any.

    Raises:
        DataError: it has no XML files, or they have no images.
    """
    parts = find_parts(path)
    if not parts:
        raise DataError(f"{path}: no XML files of VOC; they belong in Annotations, beside JPEGImages or images")
    layout = Layout({}, {})
    images = [_images_of(part) for part in parts]
    for part, named in zip(parts, images, strict=True):
        files = xml_below(part.folder) if part.folder != path else files_of(path, ".xml")
        names = FileNames({_key(image, folder): image for image, folder in named})
        pairs = {file: names.match(_key(file, part.folder)) for file in files}
        layout.images |= {file: image for file, image in pairs.items() if image is not None}
        layout.files.setdefault(part.split, []).extend(files)
        layout.names.append(names)
    bare = {image: part.split for part, named in zip(parts, images, strict=True) for image, _ in named}
    for image in sorted(set(bare) - set(layout.images.values())):
        layout.without.setdefault(bare[image], []).append(image.stem)
    return layout if any(layout.files) else _listed(path, layout, list_folders)


def xml_below(folder: Path) -> list[Path]:
    """The XML files in a folder and those below."""
    return files_below(folder, lambda name: name.lower().endswith(".xml") and not name.startswith("."))


def read_lists(lists: Mapping[str, Path], names: FileNames) -> dict[str, Listed]:
    """The files that each list names.

    Raises:
        DataError: no line of a list names a file.
    """
    return {split: read_names(file, lines_of(file), names) for split, file in lists.items()}


def _listed(path: Path, layout: Layout, list_folders: Sequence[str]) -> Layout:
    """A layout divided by its lists, if it has any."""
    lists = list_files(path, (*list_folders, *(folder.name for folder in folders_called(path, XML_FOLDERS))))
    if not lists:
        return layout
    names = FileNames({_key(file, path): file for file in layout.files[""]})
    bare = {split for split, file in lists.items() if _names_images_only(file, names, layout)}
    listed = read_lists({split: file for split, file in lists.items() if split not in bare}, names)
    files: dict[str, list[Path]] = {}
    without: dict[str, list[str]] = {}
    notes: dict[str, list[Note]] = {}
    for split, part in listed.items():
        notes[split] = []
        files[split] = without_copies(part.files, f"the list of split '{split}'", notes[split])
        without[split] = part.unknown
    for split in sorted(bare) if files else ():
        note = Note.of("list", "of images that have no XML file", "left aside", [lists[split].name])
        notes[next(iter(files))].append(note)
    return Layout(files, layout.images, without, notes, layout.names) if files else layout


def _names_images_only(file: Path, names: FileNames, layout: Layout) -> bool:
    """Whether none of the images that a list names has an XML file, as those of the test split of Oxford-IIIT Pet."""
    words = [line.split() for line in lines_of(file) if line.strip()]
    first = [each[0] for each in words if not each[0].startswith("#")]
    with_image = [name for name in first if any(images.match(name) for images in layout.names)]
    return bool(with_image) and not any(names.match(name) for name in first)


def _images_of(part: Part) -> list[tuple[Path, Path]]:
    """The images of a part with the folder that they belong to, those of the first folders first."""
    for folder in part.images:
        direct = folder == part.images[-1]  # the data set's folder itself
        images = sorted(file for file in folder.iterdir() if is_image(file.name)) if direct else images_below(folder)
        if images:
            return [(image, folder) for image in images]
    searched = ", ".join(str(folder) for folder in part.images)
    raise DataError(
        f"{part.folder}: there are XML files, but no images in {searched}; put them in JPEGImages or images"
    )


def _image_folders(path: Path, annotations: Path, split: str) -> tuple[Path, ...]:
    named = folders_called(path, IMAGE_FOLDERS)
    inner = [below for folder in named if split and (below := split_folders(folder).get(split)) is not None]
    beside = [below for below in (split_folders(path).get(split),) if split and below is not None]
    return tuple(dict.fromkeys([*inner, *named, *beside, annotations, path]))


def _key(file: Path, folder: Path) -> str:
    """A file's path in its folder without the suffix."""
    return file.relative_to(folder).with_suffix("").as_posix()


def _has_xml(folder: Path, below: bool = True) -> bool:
    folders = (Path(parent) for parent, _, _ in walk(folder)) if below else iter((folder,))
    files = (file for inner in folders for file in files_of(inner, ".xml"))
    return any(is_voc(file) for file in islice(files, SAMPLED))
