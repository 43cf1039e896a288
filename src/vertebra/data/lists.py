"""List files, which name the images of a split: one path a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vertebra.errors import DataError

MAX_SHOWN = 3


def list_file(listed: str | Path, split: str) -> Path:
    """The list of a split: the file itself, or ``train.txt`` and the like in a folder.

    Raises:
        DataError: it does not exist.
    """
    path = Path(listed)
    if path.is_dir():
        path = path / f"{split}.txt"
        if not path.is_file():
            raise DataError(f"{path}: no such list; 'lists' names a list file, or a folder with {split}.txt")
    elif not path.is_file():
        raise DataError(f"{path}: no such list file")
    return path


def read_list(file: Path) -> list[str]:
    """The paths in a list file, in its order, each once. Blank lines and lines that begin with ``#`` are left out.

    Raises:
        DataError: it is not UTF-8, or names no image.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    names = [line.strip() for line in lines]
    listed = list(dict.fromkeys(name for name in names if name and not name.startswith("#")))
    if not listed:
        raise DataError(f"{file}: it names no image; write the path of one image a line")
    return listed


def write_list(file: Path, names: Sequence[str]) -> None:
    """Writes a list file.

    Raises:
        DataError: a name cannot be a line of a list.
    """
    wrong = [name for name in names if name != name.strip() or name.startswith("#") or len(name.splitlines()) != 1]
    if wrong:
        raise DataError(f"{file}: {wrong[0]!r} cannot be a line of a list; rename the file")
    file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def listed_rows(file: Path, root: Path, images: np.ndarray, path: Path) -> np.ndarray:
    """The rows of the images that a list names, in its order.

    Args:
        file: the list. Its paths are relative to the folder of the images, or to the data set, or absolute.
        root: folder that the image paths are relative to.
        images: (n,) bytes (dtype ``S``), the paths.
        path: the data set.

    Raises:
        DataError: the list names images that the data set does not have.
    """
    rows = {os.fsdecode(name): row for row, name in enumerate(images.tolist())}
    names = read_list(file)
    folder = path if path.is_dir() else path.parent
    numbers = [_row(name, rows, root, folder) for name in names]
    unknown = [name for name, number in zip(names, numbers, strict=True) if number < 0]
    if unknown:
        shown = ", ".join(unknown[:MAX_SHOWN]) + (", …" if len(unknown) > MAX_SHOWN else "")
        raise DataError(
            f"{file}: {len(unknown)} of its {len(names)} images are not in {path}: {shown}; paths are relative to {root}"
        )
    return np.array(list(dict.fromkeys(numbers)), dtype=np.int64)


def _row(name: str, rows: dict[str, int], root: Path, folder: Path) -> int:
    if name in rows:
        return rows[name]
    written = Path(name)
    for start in (root, folder):
        target = os.path.normpath(written if written.is_absolute() else start / written)
        relative = os.path.relpath(target, root).replace(os.sep, "/")
        if relative in rows:
            return rows[relative]
    return -1
