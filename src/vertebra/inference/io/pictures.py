"""Writes results as pictures and annotated videos, under unused names; videos with OpenCV, without torch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from vertebra.errors import RunError
from vertebra.files import os_errors_as_run_errors, publish, save_under_free_name, temporary_name
from vertebra.inference.io.output_names import output_location
from vertebra.inference.io.trails import Trails
from vertebra.inference.io.video import import_cv2, open_capture
from vertebra.inference.results import Result
from vertebra.tasks.prediction import Prediction

DEFAULT_FPS = 25.0
MAX_JPEG_SIDE = 65_500  # maximum side of a JPEG file in pixels


def write_pictures(
    result: Result, folder: Path, root: Path | None = None, *, panoptic: bool = False
) -> dict[str, Path]:
    """Writes one picture per branch: ``<image>_<branch>.jpg``, or ``.png`` if a side is too long for a JPEG file. A number is added
    to names that exist.

    Args:
        result: of an image.
        folder: created if needed.
        root: the folder of the images; the subfolders between it and the image are repeated in ``folder``.
        panoptic: whether to write a picture of the fused segments, too, named "panoptic".

    Returns:
        The files by branch.

    Raises:
        DataError: the image cannot be read again.
        RunError: a file cannot be written.
    """
    subfolder, stem = output_location(result, root)
    written = {}
    for branch, prediction in _drawn_predictions(result, panoptic):
        drawn = prediction.draw().convert("RGB")
        if max(drawn.size) > MAX_JPEG_SIDE:
            suffix, content = ".png", encoded(drawn, "PNG")
        else:
            suffix, content = ".jpg", encoded(drawn, "JPEG", quality=92)
        written[branch] = save_under_free_name(folder / subfolder, f"{stem}_{branch}", suffix, content)
    return written


def _drawn_predictions(result: Result, panoptic: bool) -> Iterator[tuple[str, Prediction]]:
    """The predictions of all branches with their names, and the fused one where it is asked for."""
    yield from result.items()
    if panoptic:
        yield "panoptic", result.panoptic


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The encoded bytes of a picture. They are not written by Pillow, which would not detect a full disk.

    Args:
        kind: "PNG" or "JPEG".
        options: of Pillow's writer.
    """
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@dataclass
class _Writing:
    """A video in progress: OpenCV's writer, the temporary file, the final folder and stem, the number of frames, and the paths of
    tracks."""

    writer: Any
    part: Path
    folder: Path
    stem: str
    frames: int = 0
    trails: Trails = field(default_factory=Trails)


class AnnotatedVideos:
    """Writes annotated frames as videos, one per branch and source: ``<video>_<branch>.mp4``, in the source's size and frame
    rate, with the paths of tracks. Results must come source by source. For a live source, a frame is repeated until the next
    predicted one. A video gets its name when it is complete.

    Args:
        folder: created if needed.
        root, panoptic: see `write_pictures`.

    Attributes:
        written: the finished files.

    Raises:
        ConfigError: OpenCV is not installed (at the first frame).
        RunError: OpenCV cannot write such a video, or the disk is full.
    """

    def __init__(self, folder: Path, root: Path | None = None, *, panoptic: bool = False) -> None:
        self.folder, self.root, self.panoptic = folder, root, panoptic
        self.written: list[Path] = []
        self._source: Path | str | None = None
        self._frame = 0
        self._writers: dict[str, _Writing] = {}

    def write(self, result: Result) -> None:
        """Adds a frame to each branch's video."""
        frame_info = result.frame_info
        assert frame_info is not None, "only frames can be added to a video"
        if frame_info.source != self._source:
            self.close()
            self._source, self._frame = frame_info.source, frame_info.frame - 1
        repeats = 1 if isinstance(frame_info.source, Path) else frame_info.frame - self._frame
        self._frame = frame_info.frame
        for branch, prediction in _drawn_predictions(result, self.panoptic):
            if branch not in self._writers:
                self._writers[branch] = self._open(result, branch)
            writing = self._writers[branch]
            pixels = fit(writing.trails.drawn(prediction).convert("RGB"), even(result.size))[..., ::-1]
            for _ in range(repeats):
                writing.writer.write(np.ascontiguousarray(pixels))
            writing.frames += repeats

    def close(self) -> None:
        """Finishes the videos in progress; before that they cannot be played.

        Raises:
            RunError: a video is incomplete.
        """
        writers, self._writers, self._source = self._writers, {}, None
        for writing in writers.values():
            writing.writer.release()
        errors = [self._finish(writing) for writing in writers.values()]
        message = next((text for text in errors if text), None)
        if message is not None:
            raise RunError(message)

    def __enter__(self) -> AnnotatedVideos:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except RunError:
            if kind is None:  # else the first error is raised
                raise

    def _finish(self, writing: _Writing) -> str | None:
        """Moves a video to its name, or returns an error message: OpenCV itself does not report a full disk."""
        path = writing.folder / f"{writing.stem}.mp4"
        frames = _frame_count(writing.part)
        if frames < writing.frames:
            writing.part.unlink(missing_ok=True)
            return f"{path}: could not be written ({frames} of {writing.frames} frames were); is the disk full?"
        with os_errors_as_run_errors(path):
            self.written.append(publish(writing.part, writing.folder, writing.stem, ".mp4"))
        return None

    def _open(self, result: Result, branch: str) -> _Writing:
        cv2 = import_cv2()
        assert result.frame_info is not None
        subfolder, stem = output_location(result, self.root)
        folder = self.folder / subfolder
        with os_errors_as_run_errors(folder):
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
    """The number of frames of a video; 0 if it is not a video."""
    cv2 = import_cv2()
    capture = open_capture(str(path))
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
    capture.release()
    return max(0, round(count))


def even(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) rounded up to even numbers, which the codec needs."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def fit(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Resizes a drawn picture to its image's size. A legend below the image is moved over the image's lower edge, so that frames
    with legends of different heights stay aligned.

    Args:
        picture: RGB, possibly enlarged, possibly with a legend below.
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
