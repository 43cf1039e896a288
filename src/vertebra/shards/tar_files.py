"""Reads what a tar archive in WebDataset's form holds: its members, and its samples with their annotations.

WebDataset (https://github.com/webdataset/webdataset) stores the files of a sample side by side, with names that are the same up
to the first point: ``000001.jpg`` and ``000001.json``. An index file beside the archive, see `vertebra.shards.index_file`, has
the positions of the members and the annotations; without one, the headers of a local archive are read once.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.errors import DataError, first_line
from vertebra.shards.blocks import read_remote_member
from vertebra.shards.index_file import Members, read_index
from vertebra.shards.member_table import (
    MemberTable,
    archive_stamp,
    cache_key,
    load_arrays,
    load_table,
    read_part,
    store_arrays,
    store_table,
)
from vertebra.shards.remote import is_remote, url_of

IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "ppm", "pgm"})
MASKS = frozenset(f"{word}.{suffix}" for word in ("mask", "seg") for suffix in (*IMAGES, "npy"))
EXECUTABLE = frozenset({"pyd", "pickle", "pkl", "pth", "pt", "ckpt", "joblib", "dill"})  # reading them runs their code
MOST_TEXT = 64 << 20  # bytes of the annotations of a sample
_VERSION = 2
_tables: dict[str, tuple[tuple[int, int] | None, MemberTable]] = {}  # by archive, with its stamp


@dataclass
class ShardSample:
    """The files of one sample.

    Attributes:
        key: its name up to the first point.
        image: the name of its image, by which `vertebra.shards.members` finds it.
        mask: the name of its mask; "" if it has none.
        document: the content of its ``.json``; None if it has none, "" if that is damaged.
        label: the text of its ``.cls``; None if it has none.
        text: the text of its ``.txt``; None if it has none.
    """

    key: str
    image: str
    mask: str = ""
    document: Any = None
    label: str | None = None
    text: str | None = None


@dataclass
class Shard:
    """An archive.

    Attributes:
        samples: those with an image, in their order.
        left_out: names of what is not read, by the reason.
    """

    samples: list[ShardSample] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)


def read_shard(archive: str) -> Shard:
    """The samples of an archive.

    Args:
        archive: a local path, or a URL.

    Raises:
        DataError: it is missing or damaged, its index file is missing (at a URL) or damaged, or it has no image.
    """
    members, left_out = _members(archive)
    shard = Shard(left_out=left_out)
    positions = dict(zip(members.names, range(len(members.names)), strict=True))
    raw = MemberTable.of(members.names, members.starts, members.sizes)
    groups: dict[str, dict[str, str]] = {}
    for name in members.names:
        folder, slash, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        groups.setdefault(f"{folder}{slash}{stem}", {}).setdefault(suffix.lower(), name)
    for key, files in groups.items():
        sample = _sample(key, files, shard.left_out)
        if sample is None:
            continue
        if key in members.documents:
            sample.document = members.documents[key]
        elif "json" in files:
            sample.document = _json(_text(archive, raw, files["json"]))
        sample.label = _text(archive, raw, files["cls"]) if "cls" in files else None
        sample.text = _text(archive, raw, files["txt"]) if "txt" in files else None
        shard.samples.append(sample)
    if not shard.samples:
        raise DataError(f"{archive}: no image in it; each sample is an image and its annotations, as 1.jpg and 1.json")
    table = _with_file_names(shard.samples, members, positions)
    _tables[archive] = (None if is_remote(archive) else archive_stamp(archive), table)
    store_table(_table_key(archive), table)
    return shard


def member_table(archive: str) -> MemberTable:
    """Where the members of an archive lie, the images by the names of `ShardSample`; kept in memory and the cache folder.

    Raises:
        DataError: see `read_shard`.
    """
    stamp = None if is_remote(archive) else archive_stamp(archive)
    known = _tables.get(archive)
    if known is not None and known[0] == stamp:
        return known[1]
    table = load_table(_table_key(archive))
    if table is None:
        read_shard(archive)
        return _tables[archive][1]
    _tables[archive] = (stamp, table)
    return table


def _sample(key: str, files: Mapping[str, str], left_out: dict[str, list[str]]) -> ShardSample | None:
    images = [suffix for suffix in files if suffix in IMAGES]
    masks = [suffix for suffix in files if suffix in MASKS]
    for suffix, name in files.items():
        if suffix.rpartition(".")[2] in EXECUTABLE:
            left_out.setdefault("of Python objects, which can run code when they are read,", []).append(name)
        elif suffix not in (*images[:1], *masks[:1], "json", "cls", "txt"):
            left_out.setdefault("of a kind that is not read", []).append(name)
    if not images:
        left_out.setdefault("of a sample without an image", []).append(key)
        return None
    return ShardSample(key, files[images[0]], files[masks[0]] if masks else "")


def _with_file_names(samples: Iterable[ShardSample], members: Members, positions: Mapping[str, int]) -> MemberTable:
    """Names images by the ``file_name`` of their annotations where that is a name of its own; the table has these names."""
    names = list(members.names)
    taken = set(names)
    for sample in samples:
        given = sample.document.get("file_name") if isinstance(sample.document, Mapping) else None
        if isinstance(given, str) and is_safe(given) and given not in taken and sample.image in positions:
            taken.add(given)
            names[positions[sample.image]] = given
            sample.image = given
    return MemberTable.of(names, members.starts, members.sizes)


def is_safe(name: str) -> bool:
    """Whether a name is a relative path that stays in its folder, and one that a file can have."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    parts = name.split("/")
    return bool(name) and len(name) < 4096 and "\0" not in name and not {"", ".", ".."} & set(parts)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ""


def _text(archive: str, table: MemberTable, name: str) -> str:
    row = table.row(os.fsencode(name))
    start, size = int(table.starts[row]), int(table.sizes[row])
    if size > MOST_TEXT:
        raise DataError(f"{archive}/{name}: {size >> 20} MB are no annotations of one image")
    if is_remote(archive):
        content = read_remote_member(url_of(archive), table, row)
    else:
        content = read_part(archive, start, size)
    return content.decode("utf-8-sig", "replace")


def _members(archive: str) -> tuple[Members, dict[str, list[str]]]:
    """The members of an archive, from its index file or its headers, and the names of those that are not read."""
    index = read_index(archive)
    if index is not None:
        return index, {}
    if is_remote(archive):
        raise DataError(
            f"{url_of(archive)}: it has no index file beside it ({Path(archive).stem}.index.json), which an archive at a URL "
            "needs; write the data set with: vertebra data convert --to tar"
        )
    key = cache_key("scan", _VERSION, str(Path(archive).absolute()), archive_stamp(archive))
    arrays = load_arrays(key)
    if arrays is None or not {"names", "starts", "sizes", "others"} <= arrays.keys():
        arrays = _scan(archive)
        store_arrays(key, **arrays)
    names = [os.fsdecode(name) for name in arrays["names"].tolist()]
    others = [os.fsdecode(name) for name in arrays["others"].tolist()]
    left_out = {"that is no plain file with a relative name": others} if others else {}
    return Members(names, arrays["starts"], arrays["sizes"], {}), left_out


def _scan(archive: str) -> dict[str, np.ndarray]:
    """Reads all headers of an archive."""
    names: list[bytes] = []
    others: list[bytes] = []
    spans_of: dict[bytes, tuple[int, int]] = {}
    length = archive_stamp(archive)[0]
    try:
        with tarfile.open(archive, "r:") as opened:
            for entry in opened:
                name = entry.name.removeprefix("./")
                encoded = os.fsencode(name)
                if entry.isreg() and not entry.issparse() and is_safe(name) and encoded not in spans_of:
                    if entry.offset_data + entry.size > length:
                        raise DataError(f"{archive}: cut off in the member {name}; copy it again")
                    spans_of[encoded] = (entry.offset_data, entry.size)
                    names.append(encoded)
                elif not entry.isdir():
                    others.append(encoded)
                opened.members = []  # type: ignore[attr-defined]  # they are kept for further use otherwise
            if names and read_part(archive, opened.offset, tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                last = os.fsdecode(names[-1])
                raise DataError(f"{archive}: cut off after the member {last}, it has no end; copy it again")
    except DataError:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError) as error:
        if names:
            raise DataError(
                f"{archive}: damaged or cut off after the member {os.fsdecode(names[-1])} ({first_line(error)}); copy it again"
            ) from None
        raise DataError(f"{archive}: damaged, or no tar archive without compression ({first_line(error)})") from None
    spans = np.array(list(spans_of.values()), dtype=np.int64).reshape(-1, 2)
    return {
        "names": np.array(names, dtype=np.bytes_) if names else np.zeros(0, "S1"),
        "starts": spans[:, 0],
        "sizes": spans[:, 1],
        "others": np.array(others, dtype=np.bytes_) if others else np.zeros(0, "S1"),
    }


def _table_key(archive: str) -> str:
    if is_remote(archive):
        return cache_key("table", _VERSION, url_of(archive))
    return cache_key("table", _VERSION, str(Path(archive).absolute()), archive_stamp(archive))
