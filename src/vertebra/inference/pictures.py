"""Results as pictures and as annotated videos, under names that are free; videos without torch, by OpenCV."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from vertebra.errors import RunError
from vertebra.inference.results import Result
from vertebra.inference.video import import_cv2

DEFAULT_FPS = 25.0


def write_pictures(result: Result, folder: Path) -> list[Path]:
    """Writes one picture a branch: ``<image>_<branch>.jpg``."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for branch, prediction in result.items():
        target = free_name(folder, f"{result.path.stem if result.path else 'image'}_{branch}", ".jpg")
        prediction.draw().convert("RGB").save(target, quality=92)
        written.append(target)
    return written


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """``<stem><suffix>`` in a folder, or with the first number from 2 on that is free."""
    target, number = folder / f"{stem}{suffix}", 1
    while target.exists():
        number += 1
        target = folder / f"{stem}-{number}{suffix}"
    return target


class AnnotatedVideos:
    """Writes what is drawn on frames as videos, one a branch and source: ``<video>_<branch>.mp4``, in the source's size and
    frame rate. Results come source by source. Of a live source, a frame is shown until the next one that was looked at.

    Args:
        folder: is made if need be.

    Attributes:
        written: the files.

    Raises:
        ConfigError: OpenCV is not installed (at the first frame).
        RunError: OpenCV cannot write such a video.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._source: Path | str | None = None
        self._frame = 0
        self._writers: dict[str, Any] = {}

    def write(self, result: Result) -> None:
        """Adds a frame to each branch's video."""
        moment = result.moment
        assert moment is not None, "an image has no place in a video"
        if moment.source != self._source:
            self.close()
            self._source, self._frame = moment.source, moment.frame - 1
        times = 1 if isinstance(moment.source, Path) else moment.frame - self._frame
        self._frame = moment.frame
        for branch, prediction in result.items():
            if branch not in self._writers:
                self._writers[branch] = self._open(result, branch)
            pixels = fit(prediction.draw().convert("RGB"), even(result.size))[..., ::-1]
            for _ in range(times):
                self._writers[branch].write(np.ascontiguousarray(pixels))

    def close(self) -> None:
        """Ends the videos that are being written; only then they can be played."""
        for writer in self._writers.values():
            writer.release()
        self._writers, self._source = {}, None

    def __enter__(self) -> AnnotatedVideos:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, result: Result, branch: str) -> Any:
        cv2 = import_cv2()
        assert result.moment is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        source = result.moment.source
        stem = source.stem if isinstance(source, Path) else re.sub(r"[^\w.]+", "-", source).strip("-")
        target = free_name(self.folder, f"{stem}_{branch}", ".mp4")
        height, width = even(result.size)
        codec = cv2.VideoWriter_fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(target), codec, result.moment.fps or DEFAULT_FPS, (width, height))
        if not writer.isOpened():
            raise RunError(f"{target}: OpenCV cannot write a video of {width}x{height} pixels here")
        self.written.append(target)
        return writer


def even(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) rounded up to even numbers, which the codec wants."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def fit(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """A drawn picture in its image's size again. A legend below the image comes to lie over the image's lower edge, so that
    nothing moves from frame to frame where legends differ in height.

    Args:
        picture: RGB, perhaps enlarged, perhaps with a legend below.
        size: (height, width) in pixels.

    Returns:
        (height, width, 3) uint8.
    """
    height, width = size
    rows = max(height, round(picture.height * width / picture.width))
    pixels = np.array(picture.resize((width, rows), Image.Resampling.BILINEAR))
    legend = pixels[height:][:height]
    pixels = pixels[:height]
    if len(legend):
        pixels[height - len(legend) :] = legend
    return pixels
