"""What comes out of prediction, and which images and videos go in; without torch."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

from vertebra.errors import DataError
from vertebra.inference.io.streams import is_live_stream
from vertebra.inference.io.video import VIDEO_SUFFIXES, FrameInfo
from vertebra.preprocess.images import SUFFIXES


class Result(Mapping[str, Any]):
    """What a model says of one image, or frame of a video: a prediction for each branch, by the branch's name.

    Attributes:
        path: the image's or video's file, or None where it came as an array or from a camera.
        size: (height, width) of the image in pixels.
        frame_info: of a frame, which one of what it is; else None.
    """

    def __init__(
        self, predictions: dict[str, Any], path: Path | None, size: tuple[int, int], frame_info: FrameInfo | None = None
    ) -> None:
        self._predictions = predictions
        self.path = path
        self.size = size
        self.frame_info = frame_info

    @property
    def frame(self) -> int | None:
        """The frame's number in its video, from 0; None for an image."""
        return None if self.frame_info is None else self.frame_info.frame

    @property
    def time(self) -> float | None:
        """When the frame is shown, in seconds from the video's start; None for an image, or where nothing tells it."""
        return None if self.frame_info is None else self.frame_info.time

    @property
    def source(self) -> Path | str | None:
        """The image's or video's file, or a camera's name; None where it came as an array."""
        return self.path if self.frame_info is None else self.frame_info.source

    def __getitem__(self, branch: str) -> Any:
        return self._predictions[branch]

    def __iter__(self) -> Iterator[str]:
        return iter(self._predictions)

    def __len__(self) -> int:
        return len(self._predictions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; of a frame, also its number and time. A number that is not finite stays so: the command line, which writes
        these as null and counts them, sees it."""
        return {
            "image": None if self.source is None else str(self.source),
            **({} if self.frame_info is None else {"frame": self.frame, "time": self.time}),
            "height": self.size[0],
            "width": self.size[1],
            **{name: prediction.to_dict() for name, prediction in self.items()},
        }


class Skipped(NamedTuple):
    """An image or video that was left out.

    Attributes:
        source: its file, the name of a camera, or what it is.
        reason: why, in a sentence that names it.
    """

    source: str
    reason: str


class Unreadable(NamedTuple):
    """What stands in the place of an image or video that cannot be read; see `Skipped`."""

    source: str
    error: DataError


def list_images(images: Any) -> list[Any]:
    """One entry for each image, video or live source that a user means: a file, the images in a folder and below it, or the
    images and videos that a pattern such as ``photos/**/*.jpg`` matches (``**`` stands for any folders), or an address such
    as ``camera:0``; anything else is taken for an image itself. Videos in a folder are left out.

    Raises:
        DataError: a file or folder is missing, or a folder or pattern has nothing to look at.
    """
    if isinstance(images, list | tuple):
        return [image for entry in images for image in list_images(entry)]
    if not isinstance(images, str | Path):
        return [images]
    if is_live_stream(str(images)):
        return [images]
    path = Path(images)
    if path.is_dir():
        found = _files_among(path.rglob("*"), SUFFIXES)
        if not found:
            raise DataError(
                f"{path}: no image in this folder ({_LOOKED_FOR}; videos are named, or matched by a pattern)"
            )
        return list(found)
    if path.exists():
        return [path]
    if has_magic(str(images)):
        return list(_matching(str(images)))
    raise DataError(f"{path}: no such image, video or folder")


def _matching(pattern: str) -> list[Path]:
    """The images and videos that a pattern matches, in order of their names."""
    matched = [Path(name) for name in glob(pattern, recursive=True)]  # noqa: PTH207  # Path.glob takes no absolute ones
    found = _files_among(matched, SUFFIXES | VIDEO_SUFFIXES)
    if not found:
        what = f"matches {len(matched)} files or folders, but no image or video" if matched else "matches nothing"
        raise DataError(f"{pattern}: this pattern {what} (looked for {', '.join(sorted(SUFFIXES | VIDEO_SUFFIXES))})")
    return found


def _files_among(paths: Iterable[Path], suffixes: Container[str]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in suffixes and path.is_file())


_LOOKED_FOR = f"looked for {', '.join(sorted(SUFFIXES))}"
