"""Reads a COCO file, a large one from the user's cache folder after the first time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.scope import LabelScope
from vertebra.annotations.shapes import DeferredShapes, Shapes
from vertebra.annotations.table import Category, Objects
from vertebra.data.array_cache import Entry, known_hash, load_entry, remove_entry, store_entry
from vertebra.data.readers.coco_content import CocoContent, content_of
from vertebra.data.readers.coco_json import decode_coco, without_collection
from vertebra.errors import DataError

CACHED = 4_000_000  # bytes of the smallest file that is cached
VERSION = 3  # of the reader: raised when it reads a file differently
_COLUMNS = ("rows", "categories", "boxes", "points", "point_offsets", "crowd", "areas")
_SCOPE = tuple(each.name for each in fields(LabelScope))
_SHAPES = tuple(each.name for each in fields(Shapes) if each.name != "notes")


def read_content(file: Path) -> CocoContent:
    """The checked content of a file.

    Raises:
        DataError: the file is damaged or lacks what COCO defines.
    """
    before = file.stat()
    if before.st_size < CACHED:
        return _decoded(file)
    key = f"coco-{VERSION}-{known_hash(file)}"
    entry = load_entry(key)
    content = None if entry is None else _from_entry(entry, key, file)
    if content is not None:
        return replace(content, key=key)
    remove_entry(key)
    content = _decoded(file)
    after = file.stat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):  # the key is another content's
        return content
    store_entry(key, _to_entry(content))
    shapes = content.objects.shapes
    if shapes is None:
        return replace(content, key=key)
    deferred = _cached_shapes(key, file, len(shapes), shapes)
    return replace(content, objects=replace(content.objects, shapes=deferred), key=key)


def _decoded(file: Path) -> CocoContent:
    with without_collection():
        return content_of(decode_coco(file.read_bytes(), file), file)


def _cached_shapes(key: str, file: Path, count: int, decoded: Shapes | None) -> Shapes:
    """Shapes that come from the cache when first used, or else from the file, after which they are in the cache."""

    def read(numbers: np.ndarray) -> Shapes:
        entry = load_entry(f"{key}-shapes")
        if entry is not None:
            return Shapes(**entry.arrays, notes=_notes(entry.values)).take(numbers)
        if decoded is None and not key.endswith(known_hash(file)):
            raise DataError(f"{file}: it changed while it was read; start again")
        shapes = (_decoded(file).objects.shapes if decoded is None else decoded) or Shapes.none(count)
        if 2 * len(numbers) < count:  # few are needed
            return shapes.take(numbers)
        values = [asdict(note) for note in shapes.notes]
        store_entry(f"{key}-shapes", Entry({name: getattr(shapes, name) for name in _SHAPES}, values))
        return shapes.take(numbers)

    return DeferredShapes(read, np.arange(count))


def _to_entry(content: CocoContent) -> Entry:
    objects = content.objects
    arrays = {name: getattr(objects, name) for name in _COLUMNS}
    arrays["sizes"] = content.sizes
    if content.scope is not None:
        arrays |= {f"scope_{name}": getattr(content.scope, name) for name in _SCOPE}
    ids = objects.ids
    if ids is not None and set(map(type, ids)) == {int} and max(map(abs, ids)) < 2**63:
        arrays["ids"], ids = np.array(ids, dtype=np.int64), None
    values = {
        "names": content.names,
        "image_ids": content.image_ids,
        "categories": [asdict(category) for category in content.categories],
        "ids": ids,
        "attributes": objects.attributes,
        "shapes": objects.shapes is not None,
        "notes": [asdict(note) for note in content.notes],
        "dropped": content.dropped,
    }
    return Entry(arrays, values)


def _from_entry(entry: Entry, key: str, file: Path) -> CocoContent | None:
    """The content in an entry of the cache; None if something is missing in it."""
    try:
        arrays, values = entry.arrays, entry.values
        ids = arrays["ids"].tolist() if "ids" in arrays else values["ids"]
        attributes = values["attributes"]
        shapes = _cached_shapes(key, file, len(arrays["rows"]), None) if values["shapes"] else None
        objects = Objects(
            **{name: arrays[name] for name in _COLUMNS},
            shapes=shapes,
            ids=None if ids is None else tuple(ids),
            attributes=None if attributes is None else tuple(attributes),
        )
        return CocoContent(
            values["names"],
            values["image_ids"],
            arrays["sizes"],
            tuple(map(_category, values["categories"])),
            objects,
            list(_notes(values["notes"])),
            values["dropped"],
            LabelScope(*(arrays[f"scope_{name}"] for name in _SCOPE)) if "scope_sets" in arrays else None,
        )
    except (KeyError, TypeError):
        return None


def _category(values: Mapping[str, Any]) -> Category:
    skeleton = tuple((int(first), int(second)) for first, second in values["skeleton"])
    return Category(**{**values, "points": tuple(values["points"]), "skeleton": skeleton})


def _notes(values: Any) -> tuple[Note, ...]:
    return tuple(Note(**{**each, "names": tuple(each["names"])}) for each in values)
