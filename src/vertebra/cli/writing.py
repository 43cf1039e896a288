"""Writes the results of ``vertebra predict``: pictures, videos, masks, JSON lines, COCO results. Imported when the command
runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from vertebra.errors import ConfigError, DataError
from vertebra.inference.io.coco_results import CocoResults, coco_branch, coco_ids, refuse_existing
from vertebra.inference.io.image_urls import ImageUrl
from vertebra.inference.io.json_lines import JsonLines
from vertebra.inference.io.mask_files import MaskFolder
from vertebra.inference.io.mot_files import MotFiles
from vertebra.inference.io.output_names import common_folder
from vertebra.inference.io.panoptic_files import PanopticFolder
from vertebra.inference.io.pictures import AnnotatedVideos, write_pictures
from vertebra.inference.io.predicted_data import PredictedData, saved_score
from vertebra.inference.io.streams import Camera
from vertebra.inference.io.video import Video
from vertebra.inference.jobs import Job, content_hash
from vertebra.inference.result_tracker import check_frames
from vertebra.inference.results import Result, Skipped
from vertebra.model_info import ModelInfo


class OutputOptions(NamedTuple):
    """The outputs to write: a folder for pictures, a folder for masks, a file of JSON lines, a COCO results file with its
    annotations and branch, whether a JSON list is printed, the format and the folder of a data set of the predictions with the
    minimum score of its objects, and the one of all predictions, whether objects are tracked, a folder for MOT text, and one for
    panoptic files."""

    out: str | None
    masks: str | None
    jsonl: str | None
    coco_results: str | None
    coco_gt: str | None
    branch: str | None
    as_json: bool
    save_as: tuple[str, str] | None = None
    min_score: float | None = None
    threshold: float | None = None
    track: bool = False
    mot: str | None = None
    panoptic: str | None = None

    def check(self, sources: Sequence[Any]) -> None:
        """Checks that the outputs can be written for these sources.

        Args:
            sources: images, `Video` and `Camera`.

        Raises:
            ConfigError: an output is not possible.
            RunError: a file exists.
        """
        outputs = (self.out, self.masks, self.jsonl, self.coco_results, self.as_json, self.save_as, self.mot)
        if not any((*outputs, self.panoptic)):
            raise ConfigError(
                "no output is chosen: give --out FOLDER for pictures, --masks FOLDER, --jsonl FILE for JSON lines, "
                "--coco-results FILE, --panoptic FOLDER, --save-as FORMAT FOLDER for a data set, --mot FOLDER for tracks, or --json"
            )
        if self.track:
            check_frames(sources)
        camera = next((source for source in sources if isinstance(source, Camera)), None)
        if camera is not None and len(sources) > 1:
            raise ConfigError(
                f"{camera.name}: a live source must be the only one, since it has no end; start a command for each"
            )
        if camera is not None and self.as_json:
            raise ConfigError(
                f"{camera.name}: --json prints a list at the end, and a live source has none; use --jsonl"
            )
        if self.save_as is not None:
            _check_images(sources, "a data set is")
        if self.coco_results is None:
            if self.coco_gt is not None and self.panoptic is None:
                raise ConfigError("--coco-gt needs --coco-results FILE, or --panoptic FOLDER")
            if self.branch is not None and self.save_as is None:
                raise ConfigError("--branch needs --coco-results FILE, or --save-as FORMAT FOLDER")
            return
        refuse_existing(Path(self.coco_results))
        _check_images(sources, "COCO results are")


def _check_images(sources: Sequence[Any], what: str) -> None:
    for source in sources:
        if isinstance(source, Video | Camera):
            name = source.name if isinstance(source, Camera) else source.path
            raise ConfigError(f"{name}: {what} for images; write frames with --jsonl")
        if isinstance(source, ImageUrl) and what.startswith("a data set"):
            raise ConfigError(f"{source}: {what} for image files; download the image first")


class OutputWriter:
    """Writes results to all chosen outputs, each result once. A JSON line is written after the pictures and masks that it names,
    so that they exist if a killed job is resumed.

    Args:
        options: the outputs.
        images: as the user named them.
        sources: the images, videos and cameras to predict on.
        info: of the model.
        job: see `vertebra.inference.jobs`.

    Attributes:
        failures: the errors of images and videos that could not be read or drawn, by name.

    Raises:
        ConfigError, DataError, RunError: see the single outputs.
    """

    def __init__(
        self, options: OutputOptions, images: Sequence[str], sources: Sequence[Any], info: ModelInfo, job: Job
    ) -> None:
        self.options, self.sources = options, sources
        self.failures: dict[str, str] = {}
        self.printed: list[dict[str, Any]] = []
        self.pictures = self.results = 0
        self.videos: AnnotatedVideos | None = None
        self.masks: MaskFolder | None = None
        self.coco_results: CocoResults | None = None
        self.jsonl: JsonLines | None = None
        self.predicted: PredictedData | None = None
        self.mot: MotFiles | None = None
        self.panoptic: PanopticFolder | None = None
        self.root = common_folder(images)
        with ExitStack() as opened:
            if options.out is not None:
                self.videos = opened.enter_context(
                    AnnotatedVideos(Path(options.out), self.root, panoptic=options.panoptic is not None)
                )
            if options.mot is not None:
                self.mot = opened.enter_context(MotFiles(Path(options.mot), self.root))
            if options.panoptic is not None:
                coco_gt = None if options.coco_gt is None else Path(options.coco_gt)
                panoptic = PanopticFolder(Path(options.panoptic), info, sources, coco_gt, self.root)
                self.panoptic = opened.enter_context(panoptic)
            if options.masks is not None:
                self.masks = MaskFolder(Path(options.masks), info, self.root)
            if options.coco_results is not None:
                self.coco_results = opened.enter_context(self._coco(info, job, Path(options.coco_results)))
            if options.jsonl is not None:
                self.jsonl = opened.enter_context(JsonLines(Path(options.jsonl), job))
            if options.save_as is not None:
                to, folder = options.save_as
                self.predicted = PredictedData(
                    to,
                    Path(folder),
                    info,
                    branch=options.branch,
                    min_score=saved_score(info, options.min_score, options.threshold),
                    root=self.root,
                )
            self._opened = opened.pop_all()

    def _coco(self, info: ModelInfo, job: Job, path: Path) -> CocoResults:
        branch = coco_branch(info, self.options.branch)
        _, labels = info.branches[branch]
        coco_gt = None if self.options.coco_gt is None else Path(self.options.coco_gt)
        ids = coco_ids(self.sources, labels.classes, coco_gt, dispensable=labels.background_classes)
        file = None if coco_gt is None else f"{coco_gt.name} ({content_hash([coco_gt])})"
        return CocoResults(path, branch, ids, {**job, "annotations": file})

    def remaining(self) -> list[Any]:
        """The sources without results from an earlier, killed job; frames of videos that have results are skipped, with tracking
        only if all of them have."""
        files = self._resumable()
        remaining_sources = []
        for source in self.sources:
            if isinstance(source, Video):
                frames = frozenset() if self.jsonl is None else self.jsonl.frames_of(str(source.path))
                video = Video(source.path, frames)
                # tracks need all frames before; those that have lines get no second one
                remaining_sources.append(source if self.options.track and video.count() != 0 else video)
            elif self._needs_all() or not files or not all(file.has(str(source)) for file in files):
                remaining_sources.append(source)
        return remaining_sources

    def _needs_all(self) -> bool:
        """Whether an output is written at the end, with all images."""
        return self.predicted is not None or self.panoptic is not None

    def _resumable(self) -> list[JsonLines]:
        return [
            file
            for file in (self.jsonl, None if self.coco_results is None else self.coco_results.part)
            if file is not None
        ]

    def write(self, result: Result) -> None:
        """Writes one result."""
        self.results += 1
        name, live = str(result.source), result.frame_info is not None and isinstance(result.source, str)
        jsonl = self.jsonl if self.jsonl is not None and (live or not self.jsonl.has(name, result.frame)) else None
        files = self._write_files(result)
        if jsonl is not None or self.options.as_json:
            row = {**result.to_dict(), **files}
            if self.options.as_json:
                self.printed.append(row)
            if jsonl is not None:
                jsonl.write(row)
        if self.predicted is not None:
            self.predicted.add(result)
        if self.coco_results is not None and not self.coco_results.part.has(name):
            self.coco_results.write(result)

    def _write_files(self, result: Result) -> dict[str, Any]:
        """Writes the pictures, masks and video frames of a result.

        Returns:
            ``pictures`` and ``masks``: the written files by branch.
        """
        files: dict[str, Any] = {}
        if self.masks is not None:
            files["masks"] = _texts(self.masks.write(result))
        if self.panoptic is not None:
            files["panoptic"] = str(self.panoptic.write(result))
        if self.mot is not None:
            self.mot.write(result)
        if self.videos is None:
            return files
        try:
            if result.frame is not None:
                self.videos.write(result)
            else:
                files["pictures"] = _texts(
                    write_pictures(result, self.videos.folder, self.root, panoptic=self.panoptic is not None)
                )
                self.pictures += len(files["pictures"])
        except DataError as error:  # the image was removed after prediction
            self.failures[str(result.source)] = f"no picture: {error}"
        return files

    def fail(self, skipped: Sequence[Skipped]) -> None:
        """Records unreadable sources, also in the JSON lines and the JSON list.

        Raises:
            RunError: the lines cannot be written.
        """
        for source, reason in skipped:
            if source in self.failures:
                continue
            self.failures[source] = reason
            row = {"image": source, "error": reason}
            self.printed.append(row)
            if self.jsonl is not None:
                self.jsonl.write(row)

    @property
    def exit_code(self) -> int:
        """0 on success, 3 if some images failed, 2 if none could be read."""
        if not self.failures:
            return 0
        return 3 if self.results or any(map(len, self._resumable())) else 2

    def listed(self) -> list[dict[str, Any]]:
        """The JSON list, in the order of the sources."""
        names = [source.name if isinstance(source, Camera) else _name(source) for source in self.sources]
        order = {name: number for number, name in reversed(list(enumerate(names)))}
        return sorted(self.printed, key=lambda row: order.get(row["image"], 0))

    def resume_notes(self, remaining: Sequence[Any]) -> list[str]:
        """Notes to print before prediction: notes of the job files, and the results of an earlier job.

        Args:
            remaining: the sources without results.
        """
        lines = [note for file in self._resumable() for note in file.job.notes]
        folders = [source.path for source in self.sources if isinstance(source, Video) and source.path.is_dir()]
        lines += [f"{folder}: its images, sorted by name, are the frames of one video" for folder in folders]
        if len(remaining) < len(self.sources):
            where = " and ".join(file for file in (self.options.jsonl, self.options.coco_results) if file is not None)
            lines.append(f"{len(self.sources) - len(remaining)} of {len(self.sources)} images are in {where} already")
        for source in remaining:
            if isinstance(source, Video) and source.done:
                lines.append(f"{len(source.done)} frames of {source.path} are in {self.options.jsonl} already")
        return lines

    def summary_lines(self) -> list[str]:
        """The failures and the written files, as text."""
        lines = [f"skipped: {reason}" for reason in self.failures.values()]
        if self.failures:
            lines.append(f"{len(self.failures)} of {len(self.sources)} images were skipped")
        if self.videos is not None:
            if self.pictures or not self.videos.written:
                lines.append(f"{self.pictures} pictures in {self.options.out}")
            lines += [f"video {path}" for path in self.videos.written]
        if self.mot is not None:
            lines += [f"tracks {path}" for path in self.mot.written] + [str(note) for note in self.mot.notes]
        if self.masks is not None:
            lines.append(f"{self.masks.count} masks in {self.options.masks}")
        if self.panoptic is not None and self.panoptic.count:
            lines.append(
                f"{self.panoptic.count} panoptic maps in {self.options.panoptic}, listed in {self.panoptic.path}"
            )
        if self.jsonl is not None:
            frames = self.jsonl.frame_count
            lines.append(
                f"{self.jsonl.image_count} images{f' and {frames} frames' if frames else ''} in {self.options.jsonl}"
            )
        if self.coco_results is not None:
            where = self.coco_results.path if self.coco_results.finished else self.coco_results.part.path
            lines.append(f"{len(self.coco_results.part)} images in {where}")
        if self.predicted is not None and self.predicted.written:
            lines += [str(note) for note in self.predicted.notes]
            to, folder = self.options.save_as or ("", "")
            count = len(self.predicted)
            lines.append(f"{count} image{'s'[: count != 1]} as a {to} data set in {folder}")
        for file in self._resumable():
            if file.not_finite:
                lines.append(f"{file.not_finite} non-finite numbers in {file.path} are written as null")
        return lines

    def __enter__(self) -> OutputWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)
        if self.predicted is not None and kind is None and len(self.predicted):
            self.predicted.write()


def _name(source: Any) -> str:
    return str(source.path) if isinstance(source, Video) else str(source)


def _texts(files: Mapping[str, Any]) -> dict[str, Any]:
    """Paths as text, also in nested mappings."""
    return {name: _texts(file) if isinstance(file, Mapping) else str(file) for name, file in files.items()}
