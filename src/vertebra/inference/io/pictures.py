"""Results as pictures and as annotated videos, under names that are free; videos without torch, by OpenCV."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from vertebra.errors import RunError
from vertebra.files import os_errors_told, publish, save_under_free_name, temporary_name
from vertebra.inference.io.output_names import place_of
from vertebra.inference.io.video import import_cv2, open_capture
from vertebra.inference.results import Result

DEFAULT_FPS = 25.0
LONGEST_JPEG = 65_500  # pixels of a side that a JPEG file can have


def write_pictures(result: Result, folder: Path, root: Path | None = None) -> dict[str, Path]:
    """Writes one picture a branch: ``<image>_<branch>.jpg``, or ``.png`` where a side is too long for a JPEG file. A name that is
    taken gets a number.

    Args:
        result: of an image.
        folder: is made if need be.
        root: the folder of the images; the folders between it and the image are made in ``folder`` too.

    Returns:
        The files, by branch.

    Raises:
        DataError: the image cannot be read any more.
        RunError: a file cannot be written.
    """
    below, stem = place_of(result, root)
    written = {}
    for branch, prediction in result.items():
        drawn = prediction.draw().convert("RGB")
        if max(drawn.size) > LONGEST_JPEG:
            suffix, content = ".png", encoded(drawn, "PNG")
        else:
            suffix, content = ".jpg", encoded(drawn, "JPEG", quality=92)
        written[branch] = save_under_free_name(folder / below, f"{stem}_{branch}", suffix, content)
    return written


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as the content of a file. Pillow itself would not notice that a disk takes only a part of it.

    Args:
        kind: "PNG" or "JPEG".
        options: of Pillow's writer.
    """
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@dataclass
class _Writing:
    """A video that is being written: OpenCV's writer, the file until it is whole, the video's folder and the stem of its name, and
    how many frames it has."""

    writer: Any
    part: Path
    folder: Path
    stem: str
    frames: int = 0


class AnnotatedVideos:
    """Writes what is drawn on frames as videos, one a branch and source: ``<video>_<branch>.mp4``, in the source's size and
    frame rate. Results come source by source. Of a live source, a frame is shown until the next one that was looked at. A video
    appears under its name when it is whole.

    Args:
        folder: is made if need be.
        root: see `write_pictures`.

    Attributes:
        written: the files.

    Raises:
        ConfigError: OpenCV is not installed (at the first frame).
        RunError: OpenCV cannot write such a video, or the disk is full.
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder, self.root = folder, root
        self.written: list[Path] = []
        self._source: Path | str | None = None
        self._frame = 0
        self._writers: dict[str, _Writing] = {}

    def write(self, result: Result) -> None:
        """Adds a frame to each branch's video."""
        frame_info = result.frame_info
        assert frame_info is not None, "an image has no place in a video"
        if frame_info.source != self._source:
            self.close()
            self._source, self._frame = frame_info.source, frame_info.frame - 1
        times = 1 if isinstance(frame_info.source, Path) else frame_info.frame - self._frame
        self._frame = frame_info.frame
        for branch, prediction in result.items():
            if branch not in self._writers:
                self._writers[branch] = self._open(result, branch)
            pixels = fit(prediction.draw().convert("RGB"), even(result.size))[..., ::-1]
            writing = self._writers[branch]
            for _ in range(times):
                writing.writer.write(np.ascontiguousarray(pixels))
            writing.frames += times

    def close(self) -> None:
        """Ends the videos that are being written; only then they can be played.

        Raises:
            RunError: a video could not be written to its end.
        """
        writers, self._writers, self._source = self._writers, {}, None
        for writing in writers.values():
            writing.writer.release()
        cut = [self._finish(writing) for writing in writers.values()]
        told = next((text for text in cut if text), None)
        if told is not None:
            raise RunError(told)

    def __enter__(self) -> AnnotatedVideos:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except RunError:
            if kind is None:  # else the first error is the one to tell
                raise

    def _finish(self, writing: _Writing) -> str | None:
        """Gives a video its name, or tells why it has none: OpenCV itself is silent where the disk is full."""
        wanted = writing.folder / f"{writing.stem}.mp4"
        found = _frame_count(writing.part)
        if found < writing.frames:
            writing.part.unlink(missing_ok=True)
            return f"{wanted}: could not be written ({found} of {writing.frames} frames were); is the disk full?"
        with os_errors_told(wanted):
            self.written.append(publish(writing.part, writing.folder, writing.stem, ".mp4"))
        return None

    def _open(self, result: Result, branch: str) -> _Writing:
        cv2 = import_cv2()
        assert result.frame_info is not None
        below, stem = place_of(result, self.root)
        folder = self.folder / below
        with os_errors_told(folder):
            folder.mkdir(parents=True, exist_ok=True)
        part = temporary_name(folder, ".mp4")
        height, width = even(result.size)
        codec = cv2.VideoWriter_fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(part), codec, result.frame_info.fps or DEFAULT_FPS, (width, height))
        if not writer.isOpened():
            part.unlink(missing_ok=True)
            raise RunError(
                f"{folder / f'{stem}_{branch}.mp4'}: OpenCV cannot write a video of {width}x{height} pixels here"
            )
        return _Writing(writer, part, folder, f"{stem}_{branch}")


def _frame_count(path: Path) -> int:
    """How many frames a video has; 0 where it is none."""
    cv2 = import_cv2()
    capture = open_capture(str(path))
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
    capture.release()
    return max(0, round(count))


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
