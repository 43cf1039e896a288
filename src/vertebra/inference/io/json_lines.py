"""Results as JSON lines, written as they come, so that a job that was killed goes on where it stopped; without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from vertebra.errors import DataError, RunError
from vertebra.files import os_errors_told, replacing
from vertebra.inference.io.streams import is_address
from vertebra.inference.jobs import Job, JobFile
from vertebra.strict_json import to_json

BEGINS = b'{"image": '  # every line that is written here


class JsonLines:
    """A file with an object a line, one for each image, or for each frame of a video.

    What a file holds already is kept, if the same job made it: see `vertebra.inference.jobs`. A last line that was cut off in
    writing is taken away, and so are lines of images that could not be read, which are tried again.

    An image is known by the file that its name leads to: ``a.jpg`` and ``/photos/a.jpg`` are one where the process is in
    ``/photos``. The file has the name that the user gave.

    Args:
        path: the file; it need not exist.
        job: what the results depend on.

    Attributes:
        job: beside the file.
        live: how many frames of live sources stand in it.
        failed: how many images stand in it that could not be read.
        not_finite: how many numbers of this job's lines were not finite, and are null there.

    Raises:
        DataError: the file holds something else.
        RunError: another job made the file, another process writes it, or the operating system refuses.
    """

    def __init__(self, path: Path, job: Job) -> None:
        self.path = path
        self.live = self.failed = self.not_finite = 0
        self._done: set[str] = set()
        self._frames: dict[str, set[int]] = {}
        with os_errors_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():
                raise RunError(f"{path} is no ordinary file, so no job could go on with it; choose another name")
        self.job = JobFile(path, job)
        try:
            found = self._found()
            if any(entry.kept for entry in found):
                self.job.check()
            else:
                self.job.begin()
            for entry in found:
                if entry.kept:
                    self._note(entry.image, entry.frame, self.job.names.key_in_file(entry.image))
            self._file = self._opened(found)
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
        """Number of images in the file that could be read."""
        return len(self._done)

    @property
    def frame_count(self) -> int:
        """Number of frames of videos and live sources in the file."""
        return self.live + sum(map(len, self._frames.values()))

    def has(self, image: str, frame: int | None = None) -> bool:
        """Whether an image, or a frame of a video, stands in the file."""
        key = self.job.names.key(image)
        return key in self._done if frame is None else frame in self._frames.get(key, ())

    def frames_of(self, video: str) -> frozenset[int]:
        """The numbers of a video's frames that stand in the file."""
        return frozenset(self._frames.get(self.job.names.key(video), ()))

    def write(self, result: dict[str, Any]) -> None:
        """Adds one line, at once: it is on the disk's way when this returns.

        Raises:
            RunError: the disk is full, or refuses for another reason; the file then ends with the line before.
        """
        name = str(result["image"])
        text, lost = to_json({**result, "image": self.job.names.spelled(name)})
        self.not_finite += len(lost)
        line = text.encode() + b"\n"
        end = os.fstat(self._file.fileno()).st_size
        with os_errors_told(self.path):
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError:
                self._file.truncate(end)
                raise
        if _is_failure(result):
            self.failed += 1
        else:
            self._note(name, result.get("frame"), self.job.names.key(name))

    def rows(self) -> Iterator[dict[str, Any]]:
        """What stands in the file, line by line."""
        with self.path.open("rb") as lines:
            yield from map(json.loads, lines)

    def close(self) -> None:
        """Lets others write the file."""
        self._file.close()
        self.job.close()

    def remove(self) -> None:
        """Removes the file, and what is beside it."""
        self._file.close()
        self.path.unlink()
        self.job.remove()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _found(self) -> list[_Entry]:
        """The whole lines in the file."""
        found: list[_Entry] = []
        if self.path.exists():
            with os_errors_told(self.path), self.path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.endswith(b"\n"):
                        _check_cut_off(self.path, number, line)
                        break
                    found.append(_parsed(self.path, number, line))
        return found

    def _opened(self, found: list[_Entry]) -> IO[bytes]:
        """The file, open at its end, without what is not kept."""
        whole = sum(entry.length for entry in found)
        if not all(entry.kept for entry in found):
            whole = sum(entry.length for entry in found if entry.kept)
            with self.path.open("rb") as lines, replacing(self.path) as part, part.open("wb") as clean:
                for entry in found:
                    line = lines.read(entry.length)
                    if entry.kept:
                        clean.write(line)
        with os_errors_told(self.path):
            file = self.path.open("ab", buffering=0)
            file.truncate(whole)
        return file

    def _note(self, image: str, frame: int | None, key: str) -> None:
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
    """Whether a line tells why an image could not be read; a branch may be called "error" too."""
    return isinstance(result.get("error"), str)


def _check_cut_off(path: Path, number: int, line: bytes) -> None:
    """Whether the last line, which has no end, is what is left of one that was written here."""
    begun = BEGINS[: len(line)]
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
    return DataError(f"{path}: line {number} is no prediction; give a new file, or one that this command has written")
