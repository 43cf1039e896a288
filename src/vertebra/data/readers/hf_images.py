"""Paths of the images in a column of an Arrow file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vertebra.data.readers.tool_objects import Problems
from vertebra.errors import DataError

_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"II*\0", ".tif"))
_HEAD = 12


def image_paths(table: Any, column: str, file: Path, base: Path | None, root: Path, problems: Problems) -> list[str]:
    """The path of each row's image relative to a folder; "" for a row without one, which is counted.

    Args:
        table: of Arrow.
        column: of images: structs of their bytes and path, or bytes alone.
        file: the table's file.
        base: folder that paths of image files are relative to and stay in; None if they may be anywhere.
        root: folder of the result's paths.
        problems: become notes.

    Raises:
        DataError: the column has another type.
    """
    from pyarrow import compute, types

    inside = f"{Path(os.path.relpath(file.absolute(), root)).as_posix()}/{column}"
    paths: list[str] = []
    for chunk in table[column].chunks:
        plain = types.is_binary(chunk.type) or types.is_large_binary(chunk.type)
        if not plain and not types.is_struct(chunk.type):
            raise DataError(
                f"{file}: the column '{column}' is of {chunk.type}, and images are bytes, or bytes and a path"
            )
        contents = chunk if plain else compute.struct_field(chunk, "bytes")
        names = [None] * len(chunk) if plain else compute.struct_field(chunk, "path").to_pylist()
        heads = compute.binary_slice(contents, 0, _HEAD).to_pylist()
        for head, name in zip(heads, names, strict=True):
            row = len(paths)
            if head is not None:
                paths.append(f"{inside}/{row}{_suffix(head)}")
                continue
            path = _own_file(name, base, root)
            if not path:
                which = "whose file does not exist in the data set's folder" if name else "without an image"
                problems.add("row", which, "left out", str(name or f"{file.name} row {row}"))
            paths.append(path)
    return paths


def _suffix(head: bytes) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _MAGIC if head.startswith(magic)), "")


def _own_file(name: Any, base: Path | None, root: Path) -> str:
    """The path of an image file of its own; "" if it does not exist or is outside of the folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        return ""
    path = Path(name) if base is None else base / name
    if base is not None and not path.resolve().is_relative_to(base.resolve()):
        return ""
    if not path.is_file():
        return ""
    return Path(os.path.relpath(path.absolute(), root)).as_posix()
