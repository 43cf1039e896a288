"""What comes out of prediction; without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vertebra.errors import DataError
from vertebra.inference.io.video import FrameInfo


class Result(Mapping[str, Any]):
    """What a model says of one image, or frame of a video: a prediction for each branch, by the branch's name.

    Attributes:
        path: the image's or video's file, or None where it came as an array or from a camera.
        size: (height, width) of the image in pixels.
        frame_info: of a frame, which one of what it is; else None.
        address: of an image that came from the network, its address; else None.
    """

    def __init__(
        self,
        predictions: dict[str, Any],
        path: Path | None,
        size: tuple[int, int],
        frame_info: FrameInfo | None = None,
        address: str | None = None,
    ) -> None:
        self._predictions = predictions
        self.path = path
        self.size = size
        self.frame_info = frame_info
        self.address = address

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
        """The image's or video's file, its address, or a camera's name; None where it came as an array."""
        if self.frame_info is not None:
            return self.frame_info.source
        return self.path if self.address is None else self.address

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
