"""Where the results of ``vertebra predict`` go: pictures, videos, masks, JSON lines, COCO results. Loaded when the command
runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vertebra.errors import ConfigError, DataError
from vertebra.inference.io.coco_results import CocoResults, check_free, coco_branch, coco_ids
from vertebra.inference.io.json_lines import JsonLines
from vertebra.inference.io.mask_files import MaskFolder
from vertebra.inference.io.output_names import common_folder
from vertebra.inference.io.pictures import AnnotatedVideos, write_pictures
from vertebra.inference.io.streams import Camera
from vertebra.inference.io.video import Video
from vertebra.inference.jobs import Job, content_hash
from vertebra.inference.results import Result, Skipped
from vertebra.model_info import ModelInfo


class Wanted(NamedTuple):
    """What a user asked for: a folder for pictures, one for masks, a file of JSON lines, a COCO file with its annotations and
    branch, and whether a JSON list is printed."""

    out: str | None
    masks: str | None
    jsonl: str | None
    coco_results: str | None
    coco_gt: str | None
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
        if not (self.out or self.masks or self.jsonl or self.coco_results or self.as_json):
            raise ConfigError(
                "say what you want: masks with --masks FOLDER, pictures with --out FOLDER, JSON lines with --jsonl FILE, COCO "
                "results with --coco-results FILE, or --json"
            )
        live = next((source for source in sources if isinstance(source, Camera)), None)
        if live is not None and len(sources) > 1:
            raise ConfigError(f"{live.name}: a live source stands alone, since it has no end; start a command for each")
        if live is not None and self.as_json:
            raise ConfigError(f"{live.name}: --json prints a list at the end, and a live source has none; use --jsonl")
        if self.coco_results is None:
            for option, given in (("--coco-gt", self.coco_gt), ("--branch", self.branch)):
                if given is not None:
                    raise ConfigError(f"{option} goes with --coco-results FILE")
            return
        check_free(Path(self.coco_results))
        for source in sources:
            if isinstance(source, Video | Camera):
                name = source.name if isinstance(source, Camera) else source.path
                raise ConfigError(f"{name}: COCO results are for images; write frames with --jsonl")


class Outputs:
    """Writes results wherever they are wanted, each at most once. A line is written after the pictures and masks that it names,
    so that none is missing where a killed job goes on.

    Args:
        wanted: what for.
        images: what the user named.
        sources: all that is looked at.
        info: of the model.
        job: what the results depend on.

    Attributes:
        failures: what could not be read or drawn, by the name of the image or video.

    Raises:
        ConfigError, DataError, RunError: see the outputs themselves.
    """

    def __init__(
        self, wanted: Wanted, images: Sequence[str], sources: Sequence[Any], info: ModelInfo, job: Job
    ) -> None:
        self.wanted, self.sources = wanted, sources
        self.failures: dict[str, str] = {}
        self.shown: list[dict[str, Any]] = []
        self.pictures = self.results = 0
        self.videos: AnnotatedVideos | None = None
        self.masks: MaskFolder | None = None
        self.coco_results: CocoResults | None = None
        self.jsonl: JsonLines | None = None
        self.root = common_folder(images)
        with ExitStack() as opened:
            if wanted.out is not None:
                self.videos = opened.enter_context(AnnotatedVideos(Path(wanted.out), self.root))
            if wanted.masks is not None:
                self.masks = MaskFolder(Path(wanted.masks), info, self.root)
            if wanted.coco_results is not None:
                self.coco_results = opened.enter_context(self._coco(info, job, Path(wanted.coco_results)))
            if wanted.jsonl is not None:
                self.jsonl = opened.enter_context(JsonLines(Path(wanted.jsonl), job))
            self._opened = opened.pop_all()

    def _coco(self, info: ModelInfo, job: Job, path: Path) -> CocoResults:
        branch = coco_branch(info, self.wanted.branch)
        _, labels = info.branches[branch]
        coco_gt = None if self.wanted.coco_gt is None else Path(self.wanted.coco_gt)
        ids = coco_ids(self.sources, labels.classes, coco_gt, dispensable=labels.background_classes)
        file = None if coco_gt is None else f"{coco_gt.name} ({content_hash([coco_gt])})"
        return CocoResults(path, branch, ids, {**job, "annotations": file})

    def left(self) -> list[Any]:
        """What an earlier, killed job has not written yet; of videos, the frames that it has are passed over."""
        kept = self._resumable()
        left = []
        for source in self.sources:
            if isinstance(source, Video):
                frames = frozenset() if self.jsonl is None else self.jsonl.frames_of(str(source.path))
                left.append(Video(source.path, frames))
            elif not kept or not all(own.has(str(source)) for own in kept):
                left.append(source)
        return left

    def _resumable(self) -> list[JsonLines]:
        return [
            own
            for own in (self.jsonl, None if self.coco_results is None else self.coco_results.part)
            if own is not None
        ]

    def write(self, result: Result) -> None:
        """Writes one result."""
        self.results += 1
        name, live = str(result.source), result.frame_info is not None and isinstance(result.source, str)
        jsonl = self.jsonl if self.jsonl is not None and (live or not self.jsonl.has(name, result.frame)) else None
        files = self._write_files(result)
        if jsonl is not None or self.wanted.as_json:
            row = {**result.to_dict(), **files}
            if self.wanted.as_json:
                self.shown.append(row)
            if jsonl is not None:
                jsonl.write(row)
        if self.coco_results is not None and not self.coco_results.part.has(name):
            self.coco_results.write(result)

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
            if self.jsonl is not None:
                self.jsonl.write(row)

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
            where = " and ".join(file for file in (self.wanted.jsonl, self.wanted.coco_results) if file is not None)
            told.append(f"{len(self.sources) - len(left)} of {len(self.sources)} images stand in {where} already")
        for source in left:
            if isinstance(source, Video) and source.done:
                told.append(f"{len(source.done)} frames of {source.path} stand in {self.wanted.jsonl} already")
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
        if self.jsonl is not None:
            frames = self.jsonl.frame_count
            told.append(
                f"{self.jsonl.image_count} images{f' and {frames} frames' if frames else ''} in {self.wanted.jsonl}"
            )
        if self.coco_results is not None:
            where = self.coco_results.path if self.coco_results.finished else self.coco_results.part.path
            told.append(f"{len(self.coco_results.part)} images in {where}")
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
