"""Reads the frames of videos, and of folders with an image for each frame; without torch. OpenCV is imported at the first video."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from vertebra.errors import ConfigError, DataError, install_command
from vertebra.preprocess.images import SUFFIXES

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv"}
)  # fmt: skip
_MAX_FPS, _MAX_FRAMES = 1000, 1e9  # larger values mean that the container does not store them


class FrameInfo(NamedTuple):
    """The source, number and time of a frame.

    Attributes:
        source: the video's file, or the name of a camera or stream.
        frame: its number, from 0.
        time: in seconds from the start; None if unknown.
        fps: frames per second of the source, or None.
    """

    source: Path | str
    frame: int
    time: float | None
    fps: float | None


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame: its source and number, and its pixels (H, W, 3) uint8 RGB, or the image file that holds them."""

    frame_info: FrameInfo
    pixels: np.ndarray | Path


class Capture(Protocol):
    """The methods of an OpenCV capture that are used."""

    def isOpened(self) -> bool: ...
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def get(self, which: int) -> float: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class Video:
    """A video file, or a folder whose images are the frames of one video, sorted by name.

    Args:
        path: the file or folder.
        done: numbers of frames to skip.
    """

    path: Path
    done: frozenset[int] = frozenset()

    def frames(self) -> Generator[VideoFrame, None, None]:
        """Its frames in order, rotated upright; one at a time is in memory. A truncated video ends where it is cut off. Frames of a
        folder are files, which are not read here.

        Raises:
            DataError: the file is missing, is not a video, or has no readable frame.
            ConfigError: OpenCV is not installed.
        """
        if self.path.is_dir():
            for number, file in enumerate(list_frames(self.path)):
                if number not in self.done:
                    yield VideoFrame(FrameInfo(self.path, number, None, None), file)
            return
        cv2 = import_cv2()
        capture = self._open()
        try:
            fps, number = frame_rate(capture), 0
            while capture.grab():
                if number not in self.done:
                    time = _seconds(capture.get(cv2.CAP_PROP_POS_MSEC), number, fps)
                    readable, pixels = capture.retrieve()
                    if readable:
                        yield VideoFrame(FrameInfo(self.path, number, time, fps), rgb(pixels))
                number += 1
        finally:
            capture.release()
        if number == 0:
            raise DataError(f"{self.path}: no frame of this video can be read; copy the file again")

    def count(self) -> int | None:
        """The number of frames stored in the file, without the skipped ones. It may be wrong; None if the file has none."""
        if self.path.is_dir():
            return len(list_frames(self.path)) - len(self.done)
        cv2 = import_cv2()
        capture = open_capture(str(self.path))
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
        capture.release()
        return max(0, int(count) - len(self.done)) if 0 < count < _MAX_FRAMES else None

    def _open(self) -> Capture:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such video file")
        capture = open_capture(str(self.path))
        if not capture.isOpened():
            raise DataError(
                f"{self.path}: not a readable video, or damaged or truncated; copy the file again, or save it as MP4"
            )
        return capture


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def list_frames(folder: Path) -> list[Path]:
    """The images in a folder, not in its subfolders, sorted by name; numbers in names count as numbers.

    Raises:
        DataError: there are none.
    """
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not files:
        raise DataError(f"{folder}: has no images, which are the frames of one video; subfolders are given one by one")
    return sorted(files, key=lambda path: _name_key(path.name))


def _name_key(name: str) -> list[tuple[int, int, str]]:
    """A name as numbers and texts, such that frame9 is before frame10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts]


def import_cv2() -> Any:
    """Imports OpenCV.

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
    """A capture of a file, a stream or a camera number; opening it may have failed."""
    capture: Capture = import_cv2().VideoCapture(address)
    return capture


def frame_rate(capture: Capture) -> float | None:
    """Frames per second, or None if unknown."""
    fps = capture.get(import_cv2().CAP_PROP_FPS)
    return fps if 0 < fps < _MAX_FPS else None


def rgb(pixels: np.ndarray) -> np.ndarray:
    """Converts an OpenCV frame (H, W, 3) from BGR to RGB."""
    cv2 = import_cv2()
    turned: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return turned


def _seconds(milliseconds: float, number: int, fps: float | None) -> float | None:
    """A frame's time: from the container, or else from its number and the frame rate."""
    if milliseconds > 0:
        return milliseconds / 1000
    if number == 0:
        return 0.0
    return None if fps is None else number / fps
