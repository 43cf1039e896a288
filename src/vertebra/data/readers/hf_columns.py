"""Which columns of a Hugging Face data set hold images, classes and objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.annotations.class_names import shorten
from vertebra.annotations.notes import Note
from vertebra.annotations.table import Category
from vertebra.annotations.values import whole_number
from vertebra.data.readers.hf_files import is_image_type
from vertebra.data.readers.tool_objects import Problems, text
from vertebra.errors import DataError

IMAGES = ("image", "img", "jpg", "png", "picture", "photo")
LABELS = ("label", "labels", "class", "category", "fine_label", "target", "species", "cls")
OBJECTS = ("objects", "annotations", "annotation", "faces", "boxes")
CLASSES = ("category", "categories", "category_id", "label", "labels", "class", "classes", "class_id")
IDS = ("image_id", "id")


@dataclass
class HfColumns:
    """The columns that are read.

    Attributes:
        image, label, objects: their names; None if there is none.
        size: names of the columns of height and width; empty if there are none.
        id: name of the column of image ids.
        names: the classes of the label's numbers, or of the objects'; None if the data set does not name them.
        categories: the classes that the data set names.
        notes: about columns that are left aside.
    """

    image: str
    label: str | None
    objects: str | None
    size: tuple[str, ...]
    id: str | None
    names: Sequence[str] | None
    categories: list[Category]
    notes: list[Note] = field(default_factory=list)

    @classmethod
    def of(cls, schema: Any, features: Mapping[str, Any], named: Mapping[str, str], where: Path) -> HfColumns:
        """The columns of a data set.

        Args:
            schema: of its first Arrow file.
            features: its types, as `datasets` names them.
            named: columns that the user names, by "image" and "label".
            where: for messages.

        Raises:
            DataError: there is no column of images, or none of a name that the user gives.
        """
        columns = list(schema.names)
        unknown = next((name for name in named.values() if str(name) not in columns), None)
        if unknown is not None:
            raise DataError(f"{where}: it has no column '{unknown}', only {shorten(columns)}")
        images = [
            name for name in columns if is_image_type(schema.field(name).type) or _kind(features, name) == "Image"
        ]
        images += [
            name for name in columns if name in IMAGES and str(schema.field(name).type) in ("binary", "large_binary")
        ]
        image = named.get("image") or next((name for name in IMAGES if name in images), next(iter(images), None))
        if image is None:
            raise DataError(f"{where}: none of its columns {shorten(columns)} holds images")
        objects = next((name for name in OBJECTS if name in columns and object_fields(schema, name)), None)
        classes = [name for name in columns if _names(features.get(name)) is not None]
        candidates = [name for name in LABELS if name in columns and name != image]
        label = named.get("label") or next((name for name in candidates if name in classes), None)
        label = label or next(
            iter([*classes, *(name for name in candidates if _is_label(schema.field(name).type))]), None
        )
        size = ("height", "width") if {"height", "width"} <= set(columns) else ()
        key = next((name for name in IDS if name in columns), None)
        names = _names(features.get(label)) if label else None
        if names is None and objects is not None:
            names = next((n for c in CLASSES if (n := _names(_inner(features.get(objects), c))) is not None), None)
        categories = [Category(name, number) for number, name in enumerate(dict.fromkeys(names or ()))]
        others = [name for name in (*images, *classes) if name not in (image, label, objects)]
        others += [name for name in candidates if name != label and name not in others]
        notes = []
        if others:
            notes.append(Note.of("column", "of images or classes", "left aside; choose with columns", others))
        return cls(image, label, objects, size, key, names, categories, notes)

    @property
    def used(self) -> list[str]:
        """The names of all columns that are read."""
        chosen = (self.image, self.label, self.objects, *self.size, self.id)
        return list(dict.fromkeys(name for name in chosen if name is not None))

    def labels(self, values: Mapping[str, Any], image: str, problems: Problems) -> list[str]:
        """The classes of a row's image; a missing one, or -1, is none."""
        cell = values.get(self.label) if self.label is not None else None
        given = cell if isinstance(cell, list) else [cell]
        names = [self.class_of(value, image, problems) for value in given if value is not None and value != -1]
        return [name for name in names if name]

    def class_of(self, value: Any, image: str, problems: Problems) -> str:
        """The name of a class, or of its number; "" if it is neither, which is counted."""
        number = whole_number(value) if not isinstance(value, str) else None
        if self.names is not None and number is not None:
            if 0 <= number < len(self.names):
                return self.names[number]
            problems.drop(f"whose class number is not below {len(self.names)}", image)
            return ""
        name = str(number) if number is not None else text(value)
        if not name:
            problems.drop("without a class", image)
        return name

    def id_of(self, values: Mapping[str, Any]) -> Any:
        """The id of a row's image; None if it has none."""
        key = values.get(self.id) if self.id is not None else None
        return key if isinstance(key, (int, str)) else None


def object_fields(schema: Any, column: str | None) -> frozenset[str]:
    """The fields of a column of objects; empty if it is none, or if they have no boxes."""
    from pyarrow import types

    if column is None:
        return frozenset()
    kind = schema.field(column).type
    if types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
    if not types.is_struct(kind):
        return frozenset()
    names = frozenset(kind.field(number).name for number in range(kind.num_fields))
    return names if "bbox" in names else frozenset()


def _is_label(kind: Any) -> bool:
    from pyarrow import types

    inner = kind.value_type if types.is_list(kind) or types.is_large_list(kind) else kind
    return bool(types.is_string(inner) or types.is_large_string(inner) or types.is_integer(inner))


def _kind(features: Mapping[str, Any], name: str) -> str:
    entry = features.get(name)
    return str(entry.get("_type", "")) if isinstance(entry, Mapping) else ""


def _names(entry: Any) -> list[str] | None:
    """The names of a ``ClassLabel``, also of a sequence of them; None for other types."""
    for _ in range(3):
        if isinstance(entry, list) and len(entry) == 1:
            entry = entry[0]
        if not isinstance(entry, Mapping):
            return None
        if entry.get("_type") == "ClassLabel":
            names = entry.get("names")
            return [str(name) for name in names] if isinstance(names, list) else None
        entry = entry.get("feature")
    return None


def _inner(entry: Any, name: str) -> Any:
    """The type of a field of a sequence of structs."""
    for _ in range(3):
        if isinstance(entry, list) and len(entry) == 1:
            entry = entry[0]
        if not isinstance(entry, Mapping):
            return None
        if name in entry and isinstance(entry[name], (Mapping, list)):
            return entry[name]
        entry = entry.get("feature")
    return None
