"""Videos as frames, one after the other; without torch, and without OpenCV until a video is met."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from vertebra.errors import ConfigError, DataError, install_command

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv"}
)  # fmt: skip
_MOST_FPS, _MOST_FRAMES = 1000, 1e9  # beyond them, a container does not know


class FrameInfo(NamedTuple):
    """Which frame of what an image is.

    Attributes:
        source: the video's file, or the name of a camera or stream.
        frame: its number, from 0.
        time: in seconds from the start; None where nothing tells it.
        fps: frames a second of the source, or None.
    """

    source: Path | str
    frame: int
    time: float | None
    fps: float | None


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame: which one it is, and its pixels, (H, W, 3) uint8 RGB."""

    frame_info: FrameInfo
    pixels: np.ndarray


class Capture(Protocol):
    """What is used of an OpenCV capture."""

    def isOpened(self) -> bool: ...
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def get(self, which: int) -> float: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class Video:
    """A video file.

    Args:
        path: the file.
        done: numbers of the frames that are passed over.
    """

    path: Path
    done: frozenset[int] = frozenset()

    def frames(self) -> Generator[VideoFrame, None, None]:
        """Its frames in their order, upright; one at a time is in memory. A video that was cut off ends where it was cut.

        Raises:
            DataError: the file is missing, is no video, or has no frame that can be read.
            ConfigError: OpenCV is not installed.
        """
        cv2 = import_cv2()
        capture = self._open()
        try:
            fps, number = frame_rate(capture), 0
            while capture.grab():
                if number not in self.done:
                    time = _seconds(capture.get(cv2.CAP_PROP_POS_MSEC), number, fps)
                    whole, pixels = capture.retrieve()
                    if whole:
                        yield VideoFrame(FrameInfo(self.path, number, time, fps), rgb(pixels))
                number += 1
        finally:
            capture.release()
        if number == 0:
            raise DataError(f"{self.path}: no frame of this video can be read; copy the file again")

    def count(self) -> int | None:
        """How many frames the file says it has, those passed over left out. It may be wrong; None where it does not tell."""
        cv2 = import_cv2()
        capture = open_capture(str(self.path))
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
        capture.release()
        return max(0, int(count) - len(self.done)) if 0 < count < _MOST_FRAMES else None

    def _open(self) -> Capture:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such video file")
        capture = open_capture(str(self.path))
        if not capture.isOpened():
            raise DataError(
                f"{self.path}: not a video that can be read, or damaged or cut off; copy the file again, or save it as MP4"
            )
        return capture


def is_video(path: str | Path) -> bool:
    """Whether a file is one by its name."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def import_cv2() -> Any:
    """OpenCV.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module("cv2")
    except ImportError as error:
        raise ConfigError(
            f"videos and cameras need OpenCV, which cannot be loaded ({error}): {install_command('video')}"
        ) from error


def open_capture(address: str | int) -> Capture:
    """What reads a file, the stream at an address, or the camera of a number; it may not be open."""
    capture: Capture = import_cv2().VideoCapture(address)
    return capture


def frame_rate(capture: Capture) -> float | None:
    """Frames a second, where the source tells it."""
    fps = capture.get(import_cv2().CAP_PROP_FPS)
    return fps if 0 < fps < _MOST_FPS else None


def rgb(pixels: np.ndarray) -> np.ndarray:
    """What OpenCV read, (H, W, 3) BGR, as RGB."""
    cv2 = import_cv2()
    turned: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return turned


def _seconds(milliseconds: float, number: int, fps: float | None) -> float | None:
    """A frame's time: the container's, or else what follows from its number."""
    if milliseconds > 0:
        return milliseconds / 1000
    if number == 0:
        return 0.0
    return None if fps is None else number / fps
