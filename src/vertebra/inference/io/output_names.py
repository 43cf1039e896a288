"""Where the pictures and masks of an image go: into folders like those that the images lie in; without torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from glob import has_magic
from pathlib import Path

from vertebra.inference.io.streams import is_address
from vertebra.inference.results import Result

_LONGEST = 200  # bytes of a name, so that a branch's name and a number have room in the 255 of file systems


def common_folder(images: Sequence[str | Path]) -> Path | None:
    """The folder below which outputs repeat the folders of the inputs: the deepest one that all inputs have in common. For one
    folder it is the folder, for ``photos/**/*.jpg`` it is ``photos``, for files the folder that all of them lie in or below.

    Args:
        images: what the user named: files, folders, patterns, addresses.

    Returns:
        An absolute path; None where the inputs have no folder in common, or are no files.
    """
    folders = [os.path.abspath(_folder_of(str(image))) for image in images if not is_address(str(image))]  # noqa: PTH100
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # several drives of Windows
        return None


def place_of(result: Result, root: Path | None) -> tuple[Path, str]:
    """Where the outputs of an image go.

    Args:
        result: of the image, or of a frame of a video or camera.
        root: see `common_folder`.

    Returns:
        The folder, below that of all outputs, and the stem of the name.
    """
    source = result.source
    if source is None:
        return Path(), "image"
    if isinstance(source, str):
        return Path(), _short(re.sub(r"[^\w.]+", "-", source).strip("-"))
    folder = Path(os.path.abspath(source)).parent  # noqa: PTH100  # links stay as they are
    inside = root is not None and folder.is_relative_to(root)
    return folder.relative_to(root) if inside and root is not None else Path(), _short(source.stem)


def _folder_of(image: str) -> Path:
    path = Path(image)
    if path.is_dir():
        return path
    if has_magic(image) and not path.exists():
        parts = path.parts
        return Path(*parts[: next(place for place, part in enumerate(parts) if has_magic(part))])
    return path.parent


def _short(stem: str) -> str:
    return os.fsdecode(os.fsencode(stem)[:_LONGEST]) if len(os.fsencode(stem)) > _LONGEST else stem
