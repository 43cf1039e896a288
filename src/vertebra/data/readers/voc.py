"""Pascal VOC: an XML file with the boxes of each image, and masks in ``SegmentationClass``; see `voc_layout` for the folders.

Boxes are divided by the lists in ``ImageSets/Main``, masks by those in ``ImageSets/Segmentation``. Box coordinates are used
unchanged, as edges in pixels: annotation tools write them this way, though the original VOC counts pixels from 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.class_names import sorted_names
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations, Category
from vertebra.annotations.values import flag, whole_number
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.voc_layout import LIST_FOLDERS, Layout, find_layout, find_parts
from vertebra.data.readers.voc_masks import has_masks, load_masks, mask_splits
from vertebra.data.readers.voc_objects import has_object_masks, only_with_masks, with_object_masks
from vertebra.data.readers.voc_xml import Parsed, parse_files
from vertebra.errors import DataError

LARGEST = 1_000_000  # maximum side of an image in pixels
MASK_LISTS = "ImageSets/Segmentation"
ATTRIBUTES = ("pose", "truncated", "occluded")
NO_ATTRIBUTES = frozenset({"name", "difficult", "bndbox", "attributes"})
MASKS = frozenset({"masks"})
BOXES = frozenset({"boxes"})
OUTLINES = frozenset({"outlines"})
NOTHING: frozenset[str] = frozenset()


class VocReader(AnnotationReader):
    """Pascal VOC: XML files with boxes, and mask files."""

    name = "voc"
    summary = "Pascal VOC (XML files in Annotations beside JPEGImages or images; masks in SegmentationClass)"
    suffixes = (".xml",)
    holds = BOXES | MASKS | OUTLINES

    def looks_like(self, path: Path) -> bool:
        """Whether a folder contains VOC's XML files, or its masks."""
        return bool(self.kinds_in(path))

    def kinds_in(self, path: Path) -> frozenset[str]:
        """Boxes where there are XML files, masks, and outlines where objects with boxes have masks."""
        if not path.is_dir():
            return frozenset()
        boxes, masks = bool(find_parts(path)), has_masks(path)
        outlines = boxes and has_object_masks(path)
        return (BOXES if boxes else NOTHING) | (MASKS if masks else NOTHING) | (OUTLINES if outlines else NOTHING)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that have a list or a folder: those of the boxes, if there are any."""
        return self.splits_for(path, BOXES if find_parts(path) else MASKS, ReadOptions())

    def splits_for(self, path: Path, kinds: frozenset[str], options: ReadOptions) -> tuple[str, ...]:
        """The splits of the boxes or of the masks."""
        if self._of_masks(path, kinds):
            return mask_splits(path)
        return tuple(name for name in find_layout(path, _list_folders(kinds)).files if name)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """The boxes of all XML files of a split, with the masks of objects, or masks of classes where there are no XML files."""
        if not find_parts(path):
            return self.load_for(path, split, options, MASKS)
        return with_object_masks(_load_boxes(path, split), path)

    def load_for(self, path: Path, split: str | None, options: ReadOptions, kinds: frozenset[str]) -> Annotations:
        """The boxes or the masks of a split; "difficult" objects are crowd, and categories of boxes are sorted by name.

        Raises:
            DataError: there is no annotation, or an annotation is not valid VOC.
        """
        if self._of_masks(path, kinds):
            return load_masks(path, split, options)
        boxes = _load_boxes(path, split, _list_folders(kinds))
        if not kinds & OUTLINES or kinds & BOXES:
            return boxes
        return only_with_masks(with_object_masks(boxes, path))

    def _of_masks(self, path: Path, kinds: frozenset[str]) -> bool:
        return bool(kinds & MASKS) and not kinds & BOXES and has_masks(path)


def _list_folders(kinds: frozenset[str]) -> tuple[str, ...]:
    """The folders with the lists of some kinds: masks of objects have those of masks."""
    of_masks = bool(kinds & OUTLINES) and not kinds & BOXES
    return (MASK_LISTS, *LIST_FOLDERS) if of_masks else LIST_FOLDERS


def _load_boxes(path: Path, split: str | None, list_folders: Sequence[str] = LIST_FOLDERS) -> Annotations:
    layout = find_layout(path, list_folders)
    chosen = {name: files for name, files in layout.files.items() if split in (None, name) or not name}
    builder = AnnotationBuilder(path, path)
    parsed = {name: _parsed(name, files, layout, builder.notes) for name, files in chosen.items()}
    used = {file for files in chosen.values() for file in files}
    others = sorted({file for files in layout.files.values() for file in files} - used)
    roots = [root for files in parsed.values() for _, root in files] + [root for _, root in parse_files(others, [])]
    for name in sorted_names({_name_of(entry) for root in roots for entry in root.iter("object")} - {""}):
        builder.category(Category(name))
    odd: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, files in parsed.items():
        for file, root in files:
            image = layout.image_of(file, root.findtext("filename") or "")
            assert image is not None
            _add(file, root, image.relative_to(path).as_posix(), name, builder, odd)
    builder.notes += [Note.of("object", which, done, names) for (which, done), names in odd.items()]
    if not len(builder):
        raise DataError(f"{path}: no image with a readable XML file in split '{split or 'train'}'")
    annotations = builder.build()
    if not annotations.categories:
        raise DataError(f"{path}: its XML files mark no object at all")
    return annotations


def _parsed(split: str, files: Sequence[Path], layout: Layout, notes: list[Note]) -> list[Parsed]:
    """The files of a split that have an image and can be read."""
    without = layout.without.get(split, [])
    if without:
        notes.append(Note.of("image", "without an annotation file", "left out", without))
    notes += layout.notes.get(split, [])
    about_files: list[Note] = []
    parsed = parse_files(files, about_files)
    pairs = [(layout.image_of(file, root.findtext("filename") or ""), file, root) for file, root in parsed]
    bare = [file.name for image, file, _ in pairs if image is None]
    if bare and len(bare) == len(pairs):
        raise DataError(f"{files[0].parent}: none of its XML files has an image of the same name (first: {bare[0]})")
    if bare:
        notes.append(Note.of("annotation file", "without an image", "left out", bare))
    notes += about_files
    return [(file, root) for image, file, root in pairs if image is not None]


def _name_of(entry: ElementTree.Element) -> str:
    return (entry.findtext("name") or "").strip()


def _add(
    file: Path,
    root: ElementTree.Element,
    image: str,
    split: str,
    builder: AnnotationBuilder,
    odd: Mapping[tuple[str, str], list[str]],
) -> None:
    """Adds an image with its objects, and the file's name to what is odd about them."""
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
            odd["whose 'difficult' is neither 0 nor 1", "taken as 0"].append(file.name)
        if entry.find("polygon") is not None:
            odd["with a <polygon>", "read as boxes"].append(file.name)
        builder.object(row, name, box=box, crowd=bool(difficult), attributes=_attributes(entry))


def _attributes(entry: ElementTree.Element) -> dict[str, str]:
    """VOC's own tags, further tags with a text alone, and pairs of name and value in ``attributes``, as CVAT writes them."""
    tags = [
        child for child in entry if isinstance(child.tag, str) and child.tag not in NO_ATTRIBUTES and not len(child)
    ]
    pairs: list[tuple[str | None, str | None]] = [(child.tag, child.text) for child in tags]
    pairs += [(each.findtext("name"), each.findtext("value")) for each in entry.iterfind("attributes/attribute")]
    return {name.strip(): text.strip() for name, text in pairs if name and text and text.strip()}


def _number(root: ElementTree.Element, tag: str) -> int:
    number = whole_number(root.findtext(tag))
    return number if number is not None and 0 < number <= LARGEST else 0
