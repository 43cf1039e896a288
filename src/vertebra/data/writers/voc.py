"""Writes Pascal VOC: an XML file for each image in ``Annotations``, images in ``JPEGImages``, lists in ``ImageSets/Main``."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.readers.voc import ATTRIBUTES
from vertebra.data.writers.base import Target, Writer, is_plain, objects_of, plain_text, split_rows
from vertebra.data.writers.images import all_sizes, copy_images, image_names, in_folder_order
from vertebra.data.writers.kinds import finite_boxes, without
from vertebra.errors import DataError

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocWriter(Writer):
    """Pascal VOC with boxes."""

    name = "voc"
    summary = "Pascal VOC (Annotations, JPEGImages and ImageSets)"
    reader = "voc"
    holds = frozenset({"boxes"})
    keeps = frozenset({"crowd", "attributes"})

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes an XML file for each image that somebody annotated; crowd becomes ``difficult``, attributes that VOC
        does not have become pairs of name and value, as CVAT writes them.

        Coordinates are the edges in pixels, as labeling tools write them.
        """
        notes: list[Note] = []
        boxes = finite_boxes(annotations, notes)
        usable = ~np.isnan(boxes).any(axis=1)
        annotations = without(annotations, ~usable, "without a box, an outline or points", notes)
        _note_attributes(annotations, notes)
        names = image_names(annotations, notes, folders="none", by_stem=True)
        parts = split_rows(annotations, notes)
        copy_images(annotations, [f"JPEGImages/{name}" for name in names], target)
        sizes = all_sizes(annotations)
        folder = target.folder / "Annotations"
        folder.mkdir()
        for row, numbers in enumerate(objects_of(annotations)):
            root = _image(names[row], sizes[row])
            for number in numbers.tolist():
                _add_object(root, annotations, number, boxes[usable][number])
            ElementTree.indent(root)
            stem = names[row].rpartition(".")[0]
            ElementTree.ElementTree(root).write(folder / f"{stem}.xml", encoding="utf-8", xml_declaration=True)
        for split, rows in parts.items():
            lists = target.folder / "ImageSets" / "Main"
            if split:
                lists.mkdir(parents=True, exist_ok=True)
                stems = [names[row].rpartition(".")[0] for row in rows.tolist()]
                (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
        if "" in parts and not in_folder_order(names):
            notes.append(Note.of("image", "of no split", "written without their order", [], len(names)))
        return notes


def _note_attributes(annotations: Annotations, notes: list[Note]) -> None:
    objects = annotations.objects
    others = [
        number
        for number, each in enumerate(objects.attributes or ())
        if any(not is_plain(value) for value in each.values())
    ]
    if others:
        names = annotations.names(objects.rows[others])
        notes.append(
            Note.of("object", "with attributes that are no text and no number", "written without these", names)
        )


def _image(name: str, size: np.ndarray) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", name)
    sides = ElementTree.SubElement(root, "size")
    for key, value in (("width", size[1]), ("height", size[0]), ("depth", 3)):
        _add(sides, key, str(int(value)))
    _add(root, "segmented", "0")
    return root


def _add_object(root: ElementTree.Element, annotations: Annotations, number: int, box: np.ndarray) -> None:
    objects = annotations.objects
    entry = ElementTree.SubElement(root, "object")
    _add(entry, "name", annotations.categories[int(objects.categories[number])].name)
    given = objects.attributes[number] if objects.attributes is not None else {}
    for tag, default in (("pose", "Unspecified"), ("truncated", "0"), ("occluded", "")):
        value = given.get(tag, default)
        text = str(int(value) if isinstance(value, bool) else value)
        if text:
            _add(entry, tag, text)
    further = {name: value for name, value in given.items() if name not in ATTRIBUTES and is_plain(value)}
    if further:
        listed = ElementTree.SubElement(entry, "attributes")
        for name, value in further.items():
            pair = ElementTree.SubElement(listed, "attribute")
            _add(pair, "name", name)
            _add(pair, "value", plain_text(value))
    _add(entry, "difficult", str(int(objects.crowd[number])))
    sides = ElementTree.SubElement(entry, "bndbox")
    for key, value in zip(SIDES, box.tolist(), strict=True):
        _add(sides, key, str(int(value)) if value.is_integer() else repr(value))


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    if _NO_XML.search(text):
        raise DataError(f"{text!r}: XML cannot hold this name; rename it")
    ElementTree.SubElement(parent, tag).text = text
