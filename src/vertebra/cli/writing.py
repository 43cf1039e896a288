"""Where the results of ``vertebra predict`` go: pictures, videos, masks, JSON lines, COCO results. Loaded when the command
runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vertebra.errors import ConfigError, DataError
from vertebra.inference.coco_results import CocoResults, check_free, coco_branch, coco_ids
from vertebra.inference.face import Face
from vertebra.inference.jobs import Job, content_hash
from vertebra.inference.json_lines import JsonLines
from vertebra.inference.live import Camera
from vertebra.inference.masks import MaskFolder
from vertebra.inference.output_names import common_folder
from vertebra.inference.pictures import AnnotatedVideos, write_pictures
from vertebra.inference.results import Result, Skipped
from vertebra.inference.video import Video


class Wanted(NamedTuple):
    """What a user asked for: a folder for pictures, one for masks, a file of JSON lines, a COCO file with its annotations and
    branch, and whether a JSON list is printed."""

    out: str | None
    masks: str | None
    lines: str | None
    coco: str | None
    annotations: str | None
    branch: str | None
    as_json: bool

    def check(self, sources: Sequence[Any]) -> None:
        """Whether it can be had of these sources.

        Args:
            sources: images, `Video` and `Camera`.

        Raises:
            ConfigError: it cannot.
            RunError: a file is in the way.
        """
        if not (self.out or self.masks or self.lines or self.coco or self.as_json):
            raise ConfigError(
                "say what you want: masks with --masks FOLDER, pictures with --out FOLDER, JSON lines with --lines FILE, COCO "
                "results with --coco FILE, or --json"
            )
        live = next((source for source in sources if isinstance(source, Camera)), None)
        if live is not None and len(sources) > 1:
            raise ConfigError(f"{live.name}: a live source stands alone, since it has no end; start a command for each")
        if live is not None and self.as_json:
            raise ConfigError(f"{live.name}: --json prints a list at the end, and a live source has none; use --lines")
        if self.coco is None:
            for option, given in (("--annotations", self.annotations), ("--branch", self.branch)):
                if given is not None:
                    raise ConfigError(f"{option} goes with --coco FILE")
            return
        check_free(Path(self.coco))
        for source in sources:
            if isinstance(source, Video | Camera):
                name = source.name if isinstance(source, Camera) else source.path
                raise ConfigError(f"{name}: COCO results are for images; write frames with --lines")


class Outputs:
    """Writes results wherever they are wanted, each at most once. A line is written after the pictures and masks that it names,
    so that none is missing where a killed job goes on.

    Args:
        wanted: what for.
        images: what the user named.
        sources: all that is looked at.
        face: of the model.
        job: what the results depend on.

    Attributes:
        failures: what could not be read or drawn, by the name of the image or video.

    Raises:
        ConfigError, DataError, RunError: see the outputs themselves.
    """

    def __init__(self, wanted: Wanted, images: Sequence[str], sources: Sequence[Any], face: Face, job: Job) -> None:
        self.wanted, self.sources = wanted, sources
        self.failures: dict[str, str] = {}
        self.shown: list[dict[str, Any]] = []
        self.pictures = self.results = 0
        self.videos: AnnotatedVideos | None = None
        self.masks: MaskFolder | None = None
        self.coco: CocoResults | None = None
        self.lines: JsonLines | None = None
        self.root = common_folder(images)
        with ExitStack() as opened:
            if wanted.out is not None:
                self.videos = opened.enter_context(AnnotatedVideos(Path(wanted.out), self.root))
            if wanted.masks is not None:
                self.masks = MaskFolder(Path(wanted.masks), face, self.root)
            if wanted.coco is not None:
                self.coco = opened.enter_context(self._coco(face, job, Path(wanted.coco)))
            if wanted.lines is not None:
                self.lines = opened.enter_context(JsonLines(Path(wanted.lines), job))
            self._opened = opened.pop_all()

    def _coco(self, face: Face, job: Job, path: Path) -> CocoResults:
        branch = coco_branch(face, self.wanted.branch)
        _, labels = face.branches[branch]
        annotations = None if self.wanted.annotations is None else Path(self.wanted.annotations)
        ids = coco_ids(self.sources, labels.classes, annotations, dispensable=labels.background_classes)
        file = None if annotations is None else f"{annotations.name} ({content_hash([annotations])})"
        return CocoResults(path, branch, ids, {**job, "annotations": file})

    def left(self) -> list[Any]:
        """What an earlier, killed job has not written yet; of videos, the frames that it has are passed over."""
        kept = self._resumable()
        left = []
        for source in self.sources:
            if isinstance(source, Video):
                frames = frozenset() if self.lines is None else self.lines.frames_of(str(source.path))
                left.append(Video(source.path, frames))
            elif not kept or not all(own.has(str(source)) for own in kept):
                left.append(source)
        return left

    def _resumable(self) -> list[JsonLines]:
        return [own for own in (self.lines, None if self.coco is None else self.coco.part) if own is not None]

    def write(self, result: Result) -> None:
        """Writes one result."""
        self.results += 1
        name, live = str(result.source), isinstance(result.source, str)
        lines = self.lines if self.lines is not None and (live or not self.lines.has(name, result.frame)) else None
        files = self._write_files(result)
        if lines is not None or self.wanted.as_json:
            row = {**result.to_dict(), **files}
            if self.wanted.as_json:
                self.shown.append(row)
            if lines is not None:
                lines.write(row)
        if self.coco is not None and not self.coco.part.has(name):
            self.coco.write(result)

    def _write_files(self, result: Result) -> dict[str, Any]:
        """Draws and writes what has a file of its own.

        Returns:
            ``pictures`` and ``masks``: the files by branch, where they were written.
        """
        files: dict[str, Any] = {}
        if self.masks is not None:
            files["masks"] = _texts(self.masks.write(result))
        if self.videos is None:
            return files
        try:
            if result.frame is not None:
                self.videos.write(result)
            else:
                files["pictures"] = _texts(write_pictures(result, self.videos.folder, self.root))
                self.pictures += len(files["pictures"])
        except DataError as error:  # the image is gone since the model saw it
            self.failures[str(result.source)] = f"no picture: {error}"
        return files

    def fail(self, skipped: Sequence[Skipped]) -> None:
        """Notes what could not be read, also in the JSON lines and the JSON list.

        Raises:
            RunError: the lines cannot be written.
        """
        for source, reason in skipped:
            if source in self.failures:
                continue
            self.failures[source] = reason
            row = {"image": source, "error": reason}
            self.shown.append(row)
            if self.lines is not None:
                self.lines.write(row)

    @property
    def exit_code(self) -> int:
        """0 if all is well, 3 if some images failed, 2 if nothing could be read."""
        if not self.failures:
            return 0
        return 3 if self.results or any(map(len, self._resumable())) else 2

    def listed(self) -> list[dict[str, Any]]:
        """The JSON list, in the order of the sources."""
        names = [source.name if isinstance(source, Camera) else _name(source) for source in self.sources]
        order = {name: number for number, name in reversed(list(enumerate(names)))}
        return sorted(self.shown, key=lambda row: order.get(row["image"], 0))

    def told_before(self, left: Sequence[Any]) -> list[str]:
        """What a user should know before the work begins, and what an earlier job has written, when that much is left."""
        told = [note for own in self._resumable() for note in own.job.notes]
        if len(left) < len(self.sources):
            where = " and ".join(file for file in (self.wanted.lines, self.wanted.coco) if file is not None)
            told.append(f"{len(self.sources) - len(left)} of {len(self.sources)} images stand in {where} already")
        for source in left:
            if isinstance(source, Video) and source.done:
                told.append(f"{len(source.done)} frames of {source.path} stand in {self.wanted.lines} already")
        return told

    def told(self) -> list[str]:
        """What failed, and what was written, in words."""
        told = [f"skipped: {reason}" for reason in self.failures.values()]
        if self.failures:
            told.append(f"{len(self.failures)} of {len(self.sources)} images were skipped")
        if self.videos is not None:
            if self.pictures or not self.videos.written:
                told.append(f"{self.pictures} pictures in {self.wanted.out}")
            told += [f"video {path}" for path in self.videos.written]
        if self.masks is not None:
            told.append(f"{self.masks.count} masks in {self.wanted.masks}")
        if self.lines is not None:
            frames = self.lines.frame_count
            told.append(
                f"{self.lines.image_count} images{f' and {frames} frames' if frames else ''} in {self.wanted.lines}"
            )
        if self.coco is not None:
            where = self.coco.path if self.coco.finished else self.coco.part.path
            told.append(f"{len(self.coco.part)} images in {where}")
        for own in self._resumable():
            if own.not_finite:
                told.append(f"{own.not_finite} numbers in {own.path} are not finite and written as null")
        return told

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)


def _name(source: Any) -> str:
    return str(source.path) if isinstance(source, Video) else str(source)


def _texts(files: Mapping[str, Any]) -> dict[str, Any]:
    """Paths as text, also those in a mapping of their own."""
    return {name: _texts(file) if isinstance(file, Mapping) else str(file) for name, file in files.items()}
