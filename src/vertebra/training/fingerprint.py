"""Fingerprints of a run's data, independent of their path."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.data.sources import Source
from vertebra.errors import RunError
from vertebra.shards.members import file_size
from vertebra.tasks.column import FileColumn

SIZES = 256  # files whose size is read, evenly over a data set

Fingerprint = dict[str, Any]
"""``images``: their number; ``names`` and ``annotations``: hexadecimal digests."""


def fingerprint(sources: Sequence[Source]) -> Fingerprint:
    """The fingerprint of the data of one split.

    It is computed from the opened data in memory and the sizes of at most `SIZES` files per data set; no image is read.
    """
    names, annotations = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    for source in sources:
        rows = np.linspace(0, max(0, len(source.index) - 1), min(SIZES, len(source.index)), dtype=int)
        _feed(names, source.index.images)
        _feed(names, [file_size(source.index.path(row)) for row in rows.tolist()])
        for branch, task in sorted(source.branches.items()):
            column = source.index.columns[task]
            _feed(annotations, branch)
            if isinstance(column, FileColumn):
                _feed(annotations, column.files)
                _feed(annotations, [file_size(column.path(row)) for row in rows.tolist()])
            else:
                _feed(annotations, column)
    images = sum(len(source.index) for source in sources)
    return {"images": images, "names": names.hexdigest(), "annotations": annotations.hexdigest()}


def check_same(split: str, before: Fingerprint, now: Fingerprint, cure: str, *, annotations: bool = True) -> None:
    """Checks that the data of a split are unchanged.

    Args:
        cure: the remedy, for the message.
        annotations: whether to compare their digests; another version of Vertebra may represent them differently in memory.

    Raises:
        RunError: they changed; the message names what differs.
    """
    if before["images"] != now["images"]:
        difference = f"there are {now['images']} images, and there were {before['images']} when the run began"
    elif before["names"] != now["names"]:
        difference = "the images are not those that the run began with (other names or sizes of files)"
    elif annotations and before["annotations"] != now["annotations"]:
        difference = "the annotations are not those that the run began with"
    else:
        return
    raise RunError(f"data.{split}: {difference}; {cure}")


def _feed(digest: Any, value: Any) -> None:
    """Adds a nested value to a digest; paths are left out."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            digest.update(field.name.encode())
            _feed(digest, getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _feed(digest, key)
            _feed(digest, inner)
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)}".encode())
        for inner in value:
            _feed(digest, inner)
    elif not isinstance(value, Path):
        digest.update(repr(value).encode())
