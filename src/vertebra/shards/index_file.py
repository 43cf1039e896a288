"""The index file beside a tar archive, ``train-000000.index.json`` of ``train-000000.tar``.

It has the size of the archive in bytes, the names of its members with the first byte and the size of each, and the annotations of
its samples, so that a data set at a URL is opened without its images::

    {"bytes": 30720, "names": ["00000000.jpg", "00000000.json"], "starts": [512, 9728], "sizes": [8321, 77],
     "documents": {"00000000": {"labels": ["cat"], ...}}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vertebra.errors import DataError
from vertebra.shards.member_table import archive_stamp
from vertebra.shards.remote import MissingRemoteFile, is_remote, read_whole, url_of

SUFFIX = ".index.json"


class Members(NamedTuple):
    """The members of an archive.

    Attributes:
        names: m names, all different.
        starts, sizes: (m,) int64, the first byte and the number of bytes of each.
        documents: the annotations of samples by their keys, as far as they are known.
    """

    names: Sequence[str]
    starts: np.ndarray
    sizes: np.ndarray
    documents: Mapping[str, Any]


def index_text(members: Members, length: int) -> str:
    """The content of an index file.

    Args:
        members: of the archive.
        length: bytes of the archive.
    """
    return json.dumps(
        {
            "bytes": length,
            "names": list(members.names),
            "starts": members.starts.tolist(),
            "sizes": members.sizes.tolist(),
            "documents": members.documents,
        },
        ensure_ascii=False,
        default=str,
    )


def index_name(archive: str) -> str:
    """The path or URL of an archive's index file."""
    return archive.removesuffix(".tar") + SUFFIX


def read_index(archive: str) -> Members | None:
    """The members of an archive from its index file; None if there is none.

    Raises:
        DataError: it is damaged, or of another archive, or the archive is cut off.
    """
    name = index_name(archive)
    if is_remote(archive):
        name = url_of(name)
        try:
            content = read_whole(name)
        except MissingRemoteFile:
            return None
        length = None
    else:
        if not Path(name).is_file():
            return None
        content = Path(name).read_bytes()
        length = archive_stamp(archive)[0]
    try:
        entry = json.loads(content)
        members, complete = _members(entry), entry["bytes"]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise DataError(f"{name}: damaged, no index file of a tar archive; remove it, or write it anew") from None
    if length is not None and length < complete:
        raise DataError(
            f"{archive}: cut off, it has {length} of the {complete} bytes in {Path(name).name}; copy it again (or, if it "
            "was written anew on purpose, remove that file)"
        )
    if length is not None and length != complete:
        raise DataError(f"{name}: of another archive than {Path(archive).name} is now; remove it, or write it anew")
    return members


def _members(entry: Any) -> Members:
    """The members that an index file lists.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, OverflowError: they are not listed rightly.
    """
    names, documents = entry["names"], entry["documents"]
    starts, sizes = (np.array(entry[key], dtype=np.int64).reshape(-1) for key in ("starts", "sizes"))
    whole = all(isinstance(value, int) for key in ("starts", "sizes") for value in entry[key])
    if not (len(names) == len(starts) == len(sizes) == len(set(names))) or not isinstance(documents, dict):
        raise ValueError("lists of different lengths")
    if not whole or not all(isinstance(name, str) and name for name in names):
        raise ValueError("no names and numbers")
    for name in names:
        os.fsencode(name)  # a lone surrogate, which JSON can hold, is no file's name
    if len(starts) and (starts.min() < 0 or sizes.min() < 0 or (starts > entry["bytes"] - sizes).any()):
        raise ValueError("members outside of the archive")
    return Members(names, starts, sizes, documents)
