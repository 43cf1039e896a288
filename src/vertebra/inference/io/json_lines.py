"""Writes results as JSON lines, one by one, so that a killed job can be resumed; without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from vertebra.errors import DataError, RunError
from vertebra.files import os_errors_as_run_errors, replacing
from vertebra.inference.io.streams import is_address
from vertebra.inference.jobs import Job, JobManifest
from vertebra.strict_json import to_json

LINE_PREFIX = b'{"image": '  # of every line that is written here


class JsonLines:
    """A file with one JSON object per line, for each image or video frame.

    Existing lines are kept if the same job wrote them: see `vertebra.inference.jobs`. An incomplete last line is removed, and so
    are lines of unreadable images, which are tried again.

    Images are identified by path: ``a.jpg`` and ``/photos/a.jpg`` are the same image if the process runs in ``/photos``. The
    lines contain the name that the user passed.

    Args:
        path: the file; it need not exist.
        job: see `vertebra.inference.jobs`.

    Attributes:
        job: the manifest beside the file.
        live: the number of frames of live sources in the file.
        failed: the number of unreadable images in the file.
        not_finite: the number of non-finite values in this job's lines, written as null.

    Raises:
        DataError: the file has other content.
        RunError: another job wrote the file, another process writes it, or it cannot be written.
    """

    def __init__(self, path: Path, job: Job) -> None:
        self.path = path
        self.live = self.failed = self.not_finite = 0
        self._done: set[str] = set()
        self._frames: dict[str, set[int]] = {}
        with os_errors_as_run_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():
                raise RunError(f"{path} is not a regular file, so a job cannot be resumed from it; choose another name")
        self.job = JobManifest(path, job)
        try:
            entries = self._read_entries()
            if any(entry.kept for entry in entries):
                self.job.check()
            else:
                self.job.begin()
            for entry in entries:
                if entry.kept:
                    self._record(entry.image, entry.frame, self.job.names.key_in_file(entry.image))
            self._file = self._opened(entries)
        except BaseException:
            if self.job.is_new:
                self.job.remove()
            else:
                self.job.close()
            raise

    def __len__(self) -> int:
        """Number of images and frames in the file."""
        return len(self._done) + self.frame_count

    @property
    def image_count(self) -> int:
        """Number of readable images in the file."""
        return len(self._done)

    @property
    def frame_count(self) -> int:
        """Number of frames of videos and live sources in the file."""
        return self.live + sum(map(len, self._frames.values()))

    def has(self, image: str, frame: int | None = None) -> bool:
        """Whether the file has an image, or a frame of a video."""
        key = self.job.names.key(image)
        return key in self._done if frame is None else frame in self._frames.get(key, ())

    def frames_of(self, video: str) -> frozenset[int]:
        """The frame numbers of a video that are in the file."""
        return frozenset(self._frames.get(self.job.names.key(video), ()))

    def write(self, result: dict[str, Any]) -> None:
        """Appends one line, unbuffered.

        Raises:
            RunError: the line cannot be written, for example because the disk is full; the file then ends with the previous line.
        """
        name = str(result["image"])
        text, lost = to_json({**result, "image": self.job.names.spelled(name)})
        self.not_finite += len(lost)
        line = text.encode() + b"\n"
        end = os.fstat(self._file.fileno()).st_size
        with os_errors_as_run_errors(self.path):
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError:
                self._file.truncate(end)
                raise
        if _is_failure(result):
            self.failed += 1
        else:
            self._record(name, result.get("frame"), self.job.names.key(name))

    def rows(self) -> Iterator[dict[str, Any]]:
        """The parsed lines of the file."""
        with self.path.open("rb") as lines:
            yield from map(json.loads, lines)

    def close(self) -> None:
        """Closes the file and releases its lock."""
        self._file.close()
        self.job.close()

    def remove(self) -> None:
        """Removes the file and its manifest."""
        self._file.close()
        self.path.unlink()
        self.job.remove()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_entries(self) -> list[_Entry]:
        """The complete lines of the file."""
        entries: list[_Entry] = []
        if self.path.exists():
            with os_errors_as_run_errors(self.path), self.path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n"):
                        _check_cut_off(self.path, number, line)
                        break
                    entries.append(_parsed(self.path, number, line))
        return entries

    def _opened(self, entries: list[_Entry]) -> IO[bytes]:
        """Opens the file for appending, after removing lines that are not kept."""
        length = sum(entry.length for entry in entries)
        if not all(entry.kept for entry in entries):
            length = sum(entry.length for entry in entries if entry.kept)
            with self.path.open("rb") as lines, replacing(self.path) as part, part.open("wb") as rewritten:
                for entry in entries:
                    line = lines.read(entry.length)
                    if entry.kept:
                        rewritten.write(line)
        with os_errors_as_run_errors(self.path):
            file = self.path.open("ab", buffering=0)
            file.truncate(length)
        return file

    def _record(self, image: str, frame: int | None, key: str) -> None:
        if frame is None:
            self._done.add(key)
        elif is_address(image):
            self.live += 1
        else:
            self._frames.setdefault(key, set()).add(frame)


class _Entry(NamedTuple):
    """A line in the file: its image, the frame of a video, its length in bytes, and whether it is kept."""

    image: str
    frame: int | None
    length: int
    kept: bool


def _is_failure(result: dict[str, Any]) -> bool:
    """Whether a line is the error of an unreadable image; a branch may be called "error" too."""
    return isinstance(result.get("error"), str)


def _check_cut_off(path: Path, number: int, line: bytes) -> None:
    """Checks that an incomplete last line is the beginning of a line that was written here."""
    begun = LINE_PREFIX[: len(line)]
    if not line.startswith(begun):
        raise _foreign(path, number)


def _parsed(path: Path, number: int, line: bytes) -> _Entry:
    try:
        result: dict[str, Any] = json.loads(line)
        frame = int(result["frame"]) if "frame" in result else None
        return _Entry(str(result["image"]), frame, len(line), not _is_failure(result))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _foreign(path, number) from None


def _foreign(path: Path, number: int) -> DataError:
    return DataError(f"{path}: line {number} is not a prediction; give a new file, or one that this command wrote")
