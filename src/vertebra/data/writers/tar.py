"""Writes tar shards in WebDataset's form (https://github.com/webdataset/webdataset), which hold all that annotations hold.

A sample of a shard ``train-000000.tar`` is an image ``00000000.jpg``, its annotations ``00000000.json``, and, if it has one, its
mask ``00000000.mask.png``. ``train-000000.index.json`` has the position of each member and all annotations, see
`vertebra.shards.index_file`, so that images are read one by one. ``dataset.json`` has the classes and lists the shards.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.writers.base import DETAILS, Target, Writer, labels_of, objects_of, split_rows
from vertebra.data.writers.coco import segmentation
from vertebra.data.writers.images import image_names
from vertebra.errors import DataError
from vertebra.shards.index_file import SUFFIX, Members, index_text
from vertebra.shards.members import file_bytes

FORMAT = "vertebra-shards"
VERSION = 1


class TarWriter(Writer):
    """Tar shards with everything."""

    name = "tar"
    summary = "tar shards in WebDataset's form, for streaming"
    reader = "tar_shards"
    holds = frozenset({"labels", "boxes", "outlines", "points", "masks"})
    keeps = frozenset(DETAILS) - {"label scope"}

    def write(self, annotations: Annotations, target: Target) -> list[Note]:
        """Writes shards of at most ``target.shard_bytes``, one sample at least, with their indices.

        Raises:
            DataError: images are not to be copied, or one does not exist.
        """
        if target.images != "copy":
            raise DataError("tar shards hold the images themselves; leave out --images")
        notes: list[Note] = []
        samples = _Samples(annotations, image_names(annotations, notes))
        shards: list[dict[str, Any]] = []
        parts = split_rows(annotations, notes)
        steps = iter(target.progress(range(len(annotations)), "images"))
        for split, rows in parts.items():
            shard: _Shard | None = None
            for number, row in enumerate(rows.tolist()):
                next(steps)
                members = samples.members(row, split)
                size = sum(_stored(len(content)) for _, content in members)
                if shard is None or (shard.keys and shard.size + size > target.shard_bytes):
                    shards += [shard.close(split)] if shard is not None else []
                    count = sum(entry["split"] == split for entry in shards)
                    shard = _Shard(target.folder / f"{split or 'data'}-{count:06d}.tar")
                shard.add(f"{number:08d}", members)
            shards += [shard.close(split)] if shard is not None else []
        next(steps, None)
        masks = annotations.masks
        dataset = {
            "format": FORMAT,
            "version": VERSION,
            "classes": [dataclasses.asdict(category) for category in annotations.categories],
            "masks": None
            if masks is None
            else {
                "ignore_index": masks.ignore_index,
                "classes": masks.categories.tolist(),
                "codes": None if masks.codes is None else masks.codes.tolist(),
                "segments": masks.segments,
            },
            "shards": shards,
        }
        _write(target.folder / "dataset.json", dataset)
        return notes


class _Samples:
    """The files of each sample."""

    def __init__(self, annotations: Annotations, names: list[str]) -> None:
        self.annotations, self.names = annotations, names
        self.numbers, self.labels = objects_of(annotations), labels_of(annotations)
        self.has_box, self.drawn = annotations.objects.has_box, annotations.objects.has_shape

    def members(self, row: int, split: str) -> list[tuple[str, bytes]]:
        """The suffix and the bytes of each file of a sample."""
        annotations = self.annotations
        text = json.dumps(self._document(row, split), ensure_ascii=False, default=str)
        suffix = self.names[row].rpartition(".")[2].lower()
        members = [(suffix, _bytes_of(annotations.path(row))), ("json", text.encode())]
        if annotations.masks is not None and annotations.masks.files[row]:
            mask = annotations.masks.root / os.fsdecode(annotations.masks.files[row])
            members.append((f"mask{mask.suffix.lower()}", _bytes_of(mask)))
        return members

    def _document(self, row: int, split: str) -> dict[str, Any]:
        annotations = self.annotations
        height, width = annotations.sizes[row].tolist()
        return {
            "file_name": self.names[row],
            **({"split": split} if split else {}),
            **({"id": annotations.image_ids[row]} if annotations.image_ids is not None else {}),
            **({"width": width, "height": height} if height and width else {}),
            **({"group": int(annotations.groups[row])} if annotations.groups is not None else {}),
            "annotated": bool(annotations.annotated[row]),
            "labels": self.labels[row],
            "objects": [self._object(number) for number in self.numbers[row].tolist()],
        }

    def _object(self, number: int) -> dict[str, Any]:
        """An object: its class and what it has of ``box`` (xyxy), ``segmentation`` (as in COCO), ``points``, and the rest."""
        objects = self.annotations.objects
        first, last = objects.point_offsets[number : number + 2].tolist()
        values: Iterator[tuple[str, Any, bool]] = iter(
            (
                ("id", None if objects.ids is None else objects.ids[number], objects.ids is not None),
                ("box", objects.boxes[number].tolist(), bool(self.has_box[number])),
                ("points", objects.points[first:last].tolist(), last > first),
                ("crowd", True, bool(objects.crowd[number])),
                ("area", float(objects.areas[number]), bool(np.isfinite(objects.areas[number]))),
            )
        )
        entry: dict[str, Any] = {"class": self.annotations.categories[int(objects.categories[number])].name}
        entry |= {key: value for key, value, there in values if there}
        if objects.shapes is not None and self.drawn[number]:
            entry["segmentation"] = segmentation(objects.shapes, number)
        if objects.attributes is not None and objects.attributes[number]:
            entry["attributes"] = dict(objects.attributes[number])
        return entry


class _Shard:
    """A shard that is being written."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.keys: list[str] = []
        self.members: list[tuple[str, int, int]] = []
        self.documents: dict[str, Any] = {}
        self.tar = tarfile.open(file, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # closed by close

    @property
    def size(self) -> int:
        """Bytes so far."""
        return int(self.tar.offset)

    def add(self, key: str, members: list[tuple[str, bytes]]) -> None:
        """Adds a sample, with the same bytes on every machine."""
        self.keys.append(key)
        for suffix, content in members:
            entry = tarfile.TarInfo(f"{key}.{suffix}")
            entry.size, entry.mode = len(content), 0o644
            self.tar.addfile(entry, io.BytesIO(content))
            self.members.append((entry.name, self.size - (len(content) + 511) // 512 * 512, len(content)))
            if suffix == "json":
                self.documents[key] = json.loads(content)

    def close(self, split: str) -> dict[str, Any]:
        """Ends the shard and writes its index; its entry in ``dataset.json``."""
        self.tar.close()
        index = self.file.with_suffix(SUFFIX)
        starts, sizes = np.array([member[1:] for member in self.members], dtype=np.int64).T
        members = Members([name for name, _, _ in self.members], starts, sizes, self.documents)
        index.write_text(index_text(members, self.file.stat().st_size), encoding="utf-8")
        return {
            "file": self.file.name,
            "index": index.name,
            "split": split,
            "samples": len(self.keys),
            "bytes": self.file.stat().st_size,
        }


def _stored(size: int) -> int:
    """Bytes that a file takes in a tar archive."""
    return 512 + (size + 511) // 512 * 512


def _bytes_of(file: Path) -> bytes:
    try:
        return file_bytes(file)
    except FileNotFoundError:
        raise DataError(f"{file}: this file does not exist") from None


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
