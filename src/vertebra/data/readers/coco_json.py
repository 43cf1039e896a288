"""Decodes a COCO file: the entries of its lists, with segmentations as the file's own bytes.

Valid JSON is decoded by `msgspec` into compact records. Whatever that refuses (NaN, very large numbers, another encoding, entries
of other types) goes through Python's `json`, which reads more and names what is wrong.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from vertebra.errors import DataError

_BOM = b"\xef\xbb\xbf"
_ABSENT = msgspec.UNSET
_NONE = msgspec.Raw(b"null")
LISTS = ("images", "annotations", "categories")


class ImageEntry(msgspec.Struct, gc=False):
    """An entry of 'images'; absent values are `msgspec.UNSET`."""

    id: Any = _ABSENT
    file_name: Any = _ABSENT
    coco_url: Any = None
    height: Any = None
    width: Any = None
    neg_category_ids: Any = None
    not_exhaustive_category_ids: Any = None


class AnnotationEntry(msgspec.Struct, gc=False):
    """An entry of 'annotations'; its segmentation is JSON that is not decoded yet, or a decoded value."""

    id: Any = None
    image_id: Any = _ABSENT
    category_id: Any = _ABSENT
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None
    keypoints: Any = None
    num_keypoints: Any = None
    attributes: Any = None
    segmentation: msgspec.Raw = _NONE


class SegmentEntry(msgspec.Struct, gc=False):
    """An entry of 'segments_info'."""

    id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None


class PanopticEntry(msgspec.Struct, gc=False):
    """An entry of 'annotations' in panoptic files; absent values are `msgspec.UNSET`, as are segments of another type."""

    image_id: Any = _ABSENT
    file_name: Any = _ABSENT
    segments_info: list[SegmentEntry] | msgspec.UnsetType = _ABSENT


class CocoFile(NamedTuple):
    """The lists of a COCO file."""

    images: Sequence[ImageEntry]
    annotations: Sequence[Any]
    categories: Sequence[Mapping[str, Any]]


Record = TypeVar("Record")


@contextmanager
def without_collection() -> Iterator[None]:
    """Without garbage collection, which would search millions of new lists again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _File(msgspec.Struct, Generic[Record], gc=False):
    images: list[ImageEntry]
    annotations: list[Record]
    categories: list[dict[str, Any]]


def decode_coco(data: bytes, file: Path, record: type[Any] = AnnotationEntry) -> CocoFile:
    """The lists of a COCO file.

    Args:
        data: its bytes.
        file: for messages.
        record: of the annotations, `AnnotationEntry` or `PanopticEntry`.

    Raises:
        DataError: it is damaged or lacks a list, or a list of images or categories is empty.
    """
    try:
        decoded = msgspec.json.decode(data.removeprefix(_BOM), type=_File[record])  # type: ignore[valid-type]
        content = CocoFile(decoded.images, decoded.annotations, decoded.categories)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = _decode_slowly(data, file, record)
    if not content.images or not content.categories:
        raise DataError(f"{file}: its list '{'categories' if content.images else 'images'}' is empty")
    return content


def is_segmented(segmentation: Any) -> bool:
    """Whether a segmentation is given and not empty."""
    if isinstance(segmentation, msgspec.Raw):
        return bytes(memoryview(segmentation)[:5]).strip() not in (b"null", b"[]", b"{}", b'""', b"0", b"false")
    return bool(segmentation)


def _decode_slowly(data: bytes, file: Path, record: type[Any]) -> CocoFile:
    try:
        raw = json.loads(data)
    except RecursionError:
        raise DataError(f"{file}: damaged, lists within lists without end; copy the file again") from None
    except ValueError as error:
        raise DataError(f"{file}: damaged or cut off, not JSON ({error}); copy the file again") from None
    if not isinstance(raw, dict) or any(not isinstance(raw.get(key), list) for key in LISTS):
        raise DataError(f"{file}: not a COCO file; it needs lists 'images', 'annotations' and 'categories'")
    for key in LISTS:
        if any(not isinstance(entry, dict) for entry in raw[key]):
            raise DataError(f"{file}: an entry of '{key}' is no object in braces; write the file again")
    images = [_filled(ImageEntry, entry) for entry in raw["images"]]
    return CocoFile(images, [_filled(record, entry) for entry in raw["annotations"]], raw["categories"])


def _filled(kind: type[Any], entry: Mapping[str, Any]) -> Any:
    values = {key: entry[key] for key in kind.__struct_fields__ if key in entry}
    if kind is PanopticEntry:
        segments = values.pop("segments_info", None)
        if isinstance(segments, list) and all(isinstance(one, dict) for one in segments):
            values["segments_info"] = [_filled(SegmentEntry, one) for one in segments]
    return kind(**values)
