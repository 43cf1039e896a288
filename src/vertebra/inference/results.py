"""What comes out of prediction, and which images go in; without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    """One entry for each image that a user means.

    Raises:
        DataError: a file or folder is missing, or a folder has no image.
    """
    if isinstance(images, list | tuple):
        return [image for entry in images for image in list_images(entry)]
    if not isinstance(images, str | Path):
        return [images]
    path = Path(images)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{path}: no image in this folder (looked for {', '.join(sorted(SUFFIXES))})")
        return list(found)
    if not path.exists():
        raise DataError(f"{path}: no such image or folder")
    return [path]
