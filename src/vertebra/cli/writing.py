"""Where the results of ``vertebra predict`` go: pictures, videos, JSON lines, COCO results. Loaded when the command runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vertebra.errors import ConfigError
from vertebra.inference.coco_results import CocoResults, check_free, coco_branch, coco_ids
from vertebra.inference.face import Face
from vertebra.inference.json_lines import JsonLines
from vertebra.inference.live import Camera
from vertebra.inference.pictures import AnnotatedVideos, write_pictures
from vertebra.inference.results import Result
from vertebra.inference.video import Video


class Wanted(NamedTuple):
    """What a user asked for: a folder for pictures, a file of JSON lines, a COCO file with its annotations and branch, and
    whether a JSON list is printed."""

    out: str | None
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
        if self.out is None and self.lines is None and self.coco is None and not self.as_json:
            raise ConfigError(
                "say what you want: pictures with --out FOLDER, JSON lines with --lines FILE, COCO results with "
                "--coco FILE, or --json"
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
    """Writes results wherever they are wanted, each at most once.

    Args:
        wanted: what for.
        sources: all that is looked at.
        face: of the model.

    Raises:
        ConfigError, DataError, RunError: see the outputs themselves.
    """

    def __init__(self, wanted: Wanted, sources: Sequence[Any], face: Face) -> None:
        self.wanted, self.sources = wanted, sources
        self.shown: list[dict[str, Any]] = []
        self.pictures = 0
        self.videos: AnnotatedVideos | None = None
        self.coco: CocoResults | None = None
        self.lines: JsonLines | None = None
        with ExitStack() as opened:
            if wanted.out is not None:
                self.videos = opened.enter_context(AnnotatedVideos(Path(wanted.out)))
            if wanted.coco is not None:
                branch = coco_branch(face, wanted.branch)
                annotations = None if wanted.annotations is None else Path(wanted.annotations)
                ids = coco_ids(sources, face.branches[branch][1].classes, annotations)
                self.coco = opened.enter_context(CocoResults(Path(wanted.coco), branch, ids))
            if wanted.lines is not None:
                self.lines = opened.enter_context(JsonLines(Path(wanted.lines)))
            self._opened = opened.pop_all()

    def left(self) -> list[Any]:
        """What an earlier, killed job has not written yet; of videos, the frames that it has are passed over."""
        kept = [own for own in (self.lines, None if self.coco is None else self.coco.part) if own is not None]
        left = []
        for source in self.sources:
            if isinstance(source, Video):
                frames = self.lines.frames.get(str(source.path), ()) if self.lines is not None else ()
                left.append(Video(source.path, frozenset(frames)))
            elif not kept or not all(own.has(str(source)) for own in kept):
                left.append(source)
        return left

    def write(self, result: Result) -> None:
        """Writes one result."""
        name, live = str(result.source), isinstance(result.source, str)
        if self.wanted.as_json:
            self.shown.append(result.to_dict())
        if self.lines is not None and (live or not self.lines.has(name, result.frame)):
            self.lines.write(result.to_dict())
        if self.coco is not None and not self.coco.part.has(name):
            self.coco.write(result)
        if self.videos is not None:
            if result.frame is not None:
                self.videos.write(result)
            else:
                self.pictures += len(write_pictures(result, self.videos.folder))

    def told_before(self, left: Sequence[Any]) -> list[str]:
        """What an earlier job has written, in words, when that much is left."""
        told = []
        if len(left) < len(self.sources):
            where = " and ".join(file for file in (self.wanted.lines, self.wanted.coco) if file is not None)
            told.append(f"{len(self.sources) - len(left)} of {len(self.sources)} images stand in {where} already")
        for source in left:
            if isinstance(source, Video) and source.done:
                told.append(f"{len(source.done)} frames of {source.path} stand in {self.wanted.lines} already")
        return told

    def told(self) -> list[str]:
        """What was written, in words."""
        told = []
        if self.videos is not None:
            if self.pictures or not self.videos.written:
                told.append(f"{self.pictures} pictures in {self.wanted.out}")
            told += [f"video {path}" for path in self.videos.written]
        if self.lines is not None:
            frames = self.lines.live + sum(map(len, self.lines.frames.values()))
            told.append(
                f"{len(self.lines.done)} images{f' and {frames} frames' if frames else ''} in {self.wanted.lines}"
            )
        if self.coco is not None:
            told.append(
                f"{len(self.coco.part)} images in {self.coco.path if self.coco.finished else self.coco.part.path}"
            )
        return told

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)
