"""Folders and names of the pictures and masks of an image, which repeat the folders of the images; without torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from glob import has_magic
from pathlib import Path

from vertebra.inference.io.streams import is_address
from vertebra.inference.results import Result

_MAX_NAME_BYTES = 200  # bytes of a name, so that a branch's name and a number have room in the 255 of file systems


def common_folder(images: Sequence[str | Path]) -> Path | None:
    """The deepest folder that contains all inputs; outputs repeat the subfolders below it. For a folder it is the folder itself,
    for ``photos/**/*.jpg`` it is ``photos``, for files their deepest common folder.

    Args:
        images: files, folders, patterns and addresses, as the user named them.

    Returns:
        An absolute path; None if the inputs have no common folder, or are not files.
    """
    folders = [os.path.abspath(_folder_of(str(image))) for image in images if not is_address(str(image))]  # noqa: PTH100
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # several drives of Windows
        return None


def output_location(result: Result, root: Path | None) -> tuple[Path, str]:
    """The subfolder and the name of the outputs of an image.

    Args:
        result: of the image, or of a frame of a video or camera.
        root: see `common_folder`.

    Returns:
        The subfolder, relative to the output folder, and the stem of the file name.
    """
    source = result.source
    if source is None:
        return Path(), "image"
    if isinstance(source, str):
        return Path(), _short(re.sub(r"[^\w.]+", "-", source).strip("-"))
    folder = Path(os.path.abspath(source)).parent  # noqa: PTH100  # links are not resolved
    inside = root is not None and folder.is_relative_to(root)
    return folder.relative_to(root) if inside and root is not None else Path(), _short(source.stem)


def _folder_of(image: str) -> Path:
    path = Path(image)
    if path.is_dir():
        return path
    if has_magic(image) and not path.exists():
        parts = path.parts
        return Path(*parts[: next(index for index, part in enumerate(parts) if has_magic(part))])
    return path.parent


def _short(stem: str) -> str:
    return os.fsdecode(os.fsencode(stem)[:_MAX_NAME_BYTES]) if len(os.fsencode(stem)) > _MAX_NAME_BYTES else stem
