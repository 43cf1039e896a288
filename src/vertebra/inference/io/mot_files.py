"""Writes the tracks of videos as text of the MOT challenge, under unused names; without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from vertebra.annotations.notes import Note
from vertebra.files import os_errors_as_run_errors, publish, temporary_name
from vertebra.inference.io.output_names import output_location
from vertebra.inference.results import Result
from vertebra.tracking.mot_text import mot_lines


@dataclass
class _Writing:
    """A file in progress: the open file, its temporary name, the final folder and stem, and the classes of its objects."""

    file: IO[str]
    part: Path
    folder: Path
    stem: str
    classes: set[str] = field(default_factory=set)


class MotFiles:
    """Writes a file per video and tracked branch: ``<video>.txt``, or ``<video>_<branch>.txt`` if several branches are tracked. The
    text has no classes. Results must come source by source; a file gets its name when its video is complete.

    Args:
        folder: created if needed.
        root: the folder of the videos; the subfolders between it and a video are repeated in ``folder``.

    Attributes:
        written: the finished files.
        notes: files whose objects are of several classes, which they do not tell apart.

    Raises:
        RunError: a file cannot be written.
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder, self.root = folder, root
        self.written: list[Path] = []
        self.notes: list[Note] = []
        self._source: Path | str | None = None
        self._writers: dict[str, _Writing] = {}

    def write(self, result: Result) -> None:
        """Adds the tracked objects of a frame."""
        frame_info = result.frame_info
        assert frame_info is not None, "only frames have tracks"
        if frame_info.source != self._source:
            self.close()
            self._source = frame_info.source
        tracked = {name: each for name, each in result.items() if each.trackable and each.track_ids is not None}
        for branch, prediction in tracked.items():
            if branch not in self._writers:
                self._writers[branch] = self._open(result, branch if len(tracked) > 1 else "")
            writing = self._writers[branch]
            assert prediction.track_ids is not None
            lines = mot_lines(frame_info.frame + 1, prediction.track_ids, prediction.boxes, prediction.scores)
            with os_errors_as_run_errors(writing.part):
                writing.file.write(lines)
            writing.classes.update(prediction.class_names)

    def close(self) -> None:
        """Finishes the files in progress.

        Raises:
            RunError: a file cannot be written.
        """
        writers, self._writers, self._source = self._writers, {}, None
        for writing in writers.values():
            with os_errors_as_run_errors(writing.part):
                writing.file.close()
                path = publish(writing.part, writing.folder, writing.stem, ".txt")
            self.written.append(path)
            if len(writing.classes) > 1:
                count = len(writing.classes)
                self.notes.append(Note("class", "of objects", f"written without names to {path}", count))

    def __enter__(self) -> MotFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, result: Result, branch: str) -> _Writing:
        subfolder, stem = output_location(result, self.root)
        folder = self.folder / subfolder
        with os_errors_as_run_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            part = temporary_name(folder, ".txt")
            file = part.open("w", encoding="utf-8")
        return _Writing(file, part, folder, f"{stem}_{branch}" if branch else stem)
