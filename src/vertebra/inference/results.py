"""What comes out of prediction, and which images go in; without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from vertebra.errors import DataError
from vertebra.preprocess.images import SUFFIXES


class Result(Mapping[str, Any]):
    """What a model says of one image: a prediction for each branch, by the branch's name.

    Attributes:
        path: the image's file, or None where it came as an array.
        size: (height, width) of the image in pixels.
    """

    def __init__(self, predictions: dict[str, Any], path: Path | None, size: tuple[int, int]) -> None:
        self._predictions = predictions
        self.path = path
        self.size = size

    def __getitem__(self, branch: str) -> Any:
        return self._predictions[branch]

    def __iter__(self) -> Iterator[str]:
        return iter(self._predictions)

    def __len__(self) -> int:
        return len(self._predictions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "image": None if self.path is None else str(self.path),
            "height": self.size[0],
            "width": self.size[1],
            **{name: prediction.to_dict() for name, prediction in self.items()},
        }


def list_images(images: Any) -> list[Any]:
    """One entry for each image that a user means: a file, the images in a folder and below it, or those that a pattern
    such as ``photos/**/*.jpg`` matches (``**`` stands for any folders); anything else is taken for an image itself.

    Raises:
        DataError: a file or folder is missing, or a folder or pattern has no image.
    """
    if isinstance(images, list | tuple):
        return [image for entry in images for image in list_images(entry)]
    if not isinstance(images, str | Path):
        return [images]
    path = Path(images)
    if path.is_dir():
        found = _images_among(path.rglob("*"))
        if not found:
            raise DataError(f"{path}: no image in this folder ({_LOOKED_FOR})")
        return list(found)
    if path.exists():
        return [path]
    if has_magic(str(images)):
        return list(_matching(str(images)))
    raise DataError(f"{path}: no such image or folder")


def _matching(pattern: str) -> list[Path]:
    """The images that a pattern matches, in order of their names."""
    matched = [Path(name) for name in glob(pattern, recursive=True)]  # noqa: PTH207  # Path.glob takes no absolute ones
    found = _images_among(matched)
    if not found:
        what = f"matches {len(matched)} files or folders, but no image" if matched else "matches nothing"
        raise DataError(f"{pattern}: this pattern {what} ({_LOOKED_FOR})")
    return found


def _images_among(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())


_LOOKED_FOR = f"looked for {', '.join(sorted(SUFFIXES))}"
