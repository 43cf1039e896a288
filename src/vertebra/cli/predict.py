"""``vertebra predict``: writes a model's predictions as pictures, masks, videos and JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from vertebra.cli.printing import print_json

if TYPE_CHECKING:
    from vertebra.cli.writing import OutputWriter
    from vertebra.inference.model_source import ModelSource
    from vertebra.inference.pipeline import Pipeline
    from vertebra.inference.ray.predictor import RayPredictor
    from vertebra.inference.results import Result


def predict(
    source: str = typer.Argument(..., help="A run folder, a model file, or an exported file."),
    images: list[str] = typer.Argument(
        ..., help="Images, videos, folders of images, quoted patterns such as 'photos/**/*.jpg'; or camera:0, rtsp://…"
    ),
    out: str | None = typer.Option(
        None, help="Folder for pictures: one per branch and image, one video per branch and video."
    ),
    masks: str | None = typer.Option(
        None,
        help="Folder for the masks of segmentation branches: PNG files of class ids, with class names in classes.json.",
    ),
    panoptic: str | None = typer.Option(
        None, help="Folder for COCO panoptic JSON and PNG files, fused from branches of tasks instances and segment."
    ),
    jsonl: str | None = typer.Option(
        None, help="File for JSON lines, written one by one; images and frames that it contains already are skipped."
    ),
    coco_results: str | None = typer.Option(
        None, help="File for resumable COCO results of a branch of boxes, masks or keypoints."
    ),
    coco_gt: str | None = typer.Option(
        None, help="COCO file with image and category ids; by default numbers in file names, and class ids."
    ),
    save_as: tuple[str, str] | None = typer.Option(
        None,
        metavar="FORMAT FOLDER",
        help="Save predictions and images as a data set (coco, yolo, voc, masks, labelme …), to correct and train on.",
    ),
    min_score: float | None = typer.Option(
        None, min=0.0, max=1.0, help="Minimum score of objects of --save-as; by default that of the predictions."
    ),
    track: bool = typer.Option(
        False, "--track", help="Give the objects of videos, cameras and folders of frames ids, the same in each frame."
    ),
    tracker: str | None = typer.Option(None, help="Tracker of --track: bytetrack (default) or ocsort."),
    track_option: list[str] = typer.Option(
        [], metavar="NAME=VALUE", help="Option of the tracker, such as track_buffer=60; may be repeated."
    ),
    mot: str | None = typer.Option(None, help="Folder for tracks as MOT challenge text, one file per video."),
    branch: str | None = typer.Option(None, help="Branch for --coco-results or --save-as, if there are several."),
    threshold: float | None = typer.Option(
        None,
        min=0.0,
        max=1.0,
        help="Minimum score of objects; by default those that the model stores by class, and 0.3 for a model without them.",
    ),
    batch_size: int = typer.Option(8, min=1, help="Images, or tiles, in a batch."),
    tile: int | None = typer.Option(None, help="Split larger images into square tiles of this side, in image pixels."),
    overlap: float = typer.Option(0.2, help="Minimum overlap of tiles, as a fraction of their side."),
    flip: bool = typer.Option(
        False, "--flip", help="Also predict on mirrored images, or tiles, and merge the results."
    ),
    scales: str = typer.Option("1", help="Predict at several scales of the canvas, such as 0.8,1,1.25, and merge."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best available."),
    runtime: str | None = typer.Option(
        None, help="torch, onnx, openvino or tensorrt; by default the one stored by benchmark, else torch."
    ),
    precision: str | None = typer.Option(
        None, help="fp32, bf16, fp16 (GPU) or int8: faster on processors that support it. By default fp32."
    ),
    compile: bool = typer.Option(False, "--compile", help="Compile the model first, which takes half a minute."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; by default all available CPUs."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON list with an object for each image."),
    engine: str = typer.Option("local", help="local, or ray: the workers of a Ray cluster share the images."),
    address: str | None = typer.Option(
        None, help="Ray cluster: auto, host:port, ray://host:port; by default RAY_ADDRESS, else local."
    ),
    workers: int | None = typer.Option(None, min=1, help="Workers on the Ray cluster; by default as many as possible."),
) -> None:
    """Predict on images of any size, and draw or write the results.

    Exits with 0 on success, 3 if some images could not be read, and 2 if there are no results.
    """
    from vertebra.cli.writing import OutputOptions, OutputWriter
    from vertebra.errors import ConfigError
    from vertebra.inference.io.image_urls import ImageUrl
    from vertebra.inference.io.inputs import as_sequences, as_source, list_images
    from vertebra.inference.io.streams import Camera
    from vertebra.inference.jobs import describe_job, job_threshold
    from vertebra.inference.tta import check_scales

    tracking = _tracking(track, tracker, track_option, mot)
    sources = [as_source(image) for image in list_images(images if tracking is None else as_sequences(images))]
    if min_score is not None and save_as is None:
        raise ConfigError("--min-score needs --save-as FORMAT FOLDER; for other outputs use --threshold")
    output_options = OutputOptions(
        out, masks, jsonl, coco_results, coco_gt, branch, as_json, save_as, min_score, threshold, track, mot, panoptic
    )
    output_options.check(sources)
    single = len(images) == 1 and (Path(images[0]).is_file() or isinstance(sources[0], Camera | ImageUrl))
    options = {
        "batch_size": batch_size,
        "threshold": threshold,
        "skip_unreadable": not single,
        "tile": tile,
        "overlap": overlap,
        "flip": flip,
        "scales": check_scales(scales),
        **({} if tracking is None else {"track": tracking}),
    }
    engine_options = _checked_engine({"engine": engine, "address": address, "workers": workers}, track)
    runtime_options = {"runtime": runtime, "precision": precision, "compile": compile, "threads": threads}
    chosen = _open_options(source, runtime_options, device)
    predictor = _predictor(chosen.source, options, engine_options)
    output_kinds = {name: "given" if folder else "not given" for name, folder in (("--out", out), ("--masks", masks))}
    output_kinds |= {"--panoptic": "given"} if panoptic else {}
    job = {}
    if jsonl or coco_results:
        settings = {**options, "threshold": job_threshold(predictor.info, threshold)}
        job = describe_job(source, chosen.files, chosen.computed_in, settings, **output_kinds)
    outputs = OutputWriter(output_options, images, sources, predictor.info, job)
    _write_results(predictor, outputs)
    if as_json:
        print_json(outputs.listed())
    raise typer.Exit(outputs.exit_code)


class _Chosen(NamedTuple):
    """The source to open, the files that hold the model itself, and the precision and runtime as text."""

    source: ModelSource
    files: list[Path]
    computed_in: str


def _write_results(predictor: Pipeline | RayPredictor, outputs: OutputWriter) -> None:
    """Predicts on all images that the outputs do not contain yet, writes the results, and prints what was written, also after an
    error."""
    try:
        with outputs:
            remaining = outputs.remaining()
            _print_messages(outputs.resume_notes(remaining))
            try:
                with closing(predictor.stream(remaining)) as results:
                    for result in _with_progress(results, remaining):
                        outputs.write(result)
            finally:
                outputs.fail(predictor.skipped)
                _print_messages(map(str, predictor.notes))
    finally:
        _print_messages(outputs.summary_lines())


def _print_messages(messages: Iterable[str]) -> None:
    for message in messages:
        print(message, file=sys.stderr)


def _tracking(track: bool, tracker: str | None, options: list[str], mot: str | None) -> dict[str, Any] | None:
    """The option ``track`` of a predictor, from those of the command line."""
    from vertebra.errors import ConfigError
    from vertebra.tracking.tracker import DEFAULT_TRACKER, TrackerConfig, parsed_options

    if not track:
        for name, given in (("--tracker", tracker), ("--track-option", options), ("--mot", mot)):
            if given:
                raise ConfigError(f"{name} needs --track")
        return None
    tracking = {"name": tracker or DEFAULT_TRACKER, **parsed_options(options)}
    TrackerConfig.of(tracking)
    return tracking


def _checked_engine(engine_options: dict[str, Any], track: bool) -> dict[str, Any]:
    """Checks the options of the engine: its name, and the address and workers of a Ray cluster."""
    from vertebra.errors import ConfigError, UnknownName

    if engine_options["engine"] not in ("local", "ray"):
        raise UnknownName("engine", engine_options["engine"], ("local", "ray"))
    if engine_options["engine"] == "ray" and track:
        raise ConfigError("--track needs all frames of a video in order, in one process; leave out --engine ray")
    if engine_options["engine"] == "local" and (
        engine_options["address"] is not None or engine_options["workers"] is not None
    ):
        raise ConfigError("--address and --workers are for a Ray cluster; add --engine ray, or leave them out")
    return engine_options


def _predictor(source: ModelSource, options: dict[str, Any], engine_options: dict[str, Any]) -> Pipeline | RayPredictor:
    """The predictor of a model, or of an exported file, for which torch is not imported.

    Args:
        options: of the predictor.
        engine_options: see `_checked_engine`.
    """
    if engine_options["engine"] == "local":
        return source.predictor(**options)
    from vertebra.inference.ray.predictor import RayPredictor

    return RayPredictor(source, address=engine_options["address"], workers=engine_options["workers"], **options)


def _open_options(source: str, runtime_options: dict[str, Any], device: str | None) -> _Chosen:
    """The file to open, and its options.

    Args:
        runtime_options: runtime, precision, compile and threads.
    """
    from vertebra.runtimes import is_exported

    if is_exported(source):
        from vertebra.errors import ConfigError
        from vertebra.inference.model_source import ModelSource
        from vertebra.runtimes import computed_in

        if runtime_options["compile"]:
            raise ConfigError("an exported file is compiled by its runtime; leave out --compile")
        opened = ModelSource(Path(source), **runtime_options, device=device)
        return _Chosen(
            opened, opened.files, computed_in(source, runtime_options["runtime"], runtime_options["precision"])
        )
    from vertebra.export.runtime_cache import resolve_runtime, resolve_source
    from vertebra.weights.model_file import model_path

    chosen = resolve_runtime(source, **runtime_options)
    # in fp32 the runtime does not matter: every file was compared with PyTorch, number by number
    computed = "fp32" if chosen.precision == "fp32" else f"{chosen.precision} by {chosen.runtime}"
    return _Chosen(resolve_source(source, chosen, device=device), [model_path(source)], computed)


def _with_progress(results: Iterable[Result], sources: Iterable[Any]) -> Iterable[Result]:
    """The same results, with a progress bar in a terminal; without a total if it is unknown."""
    from rich.console import Console
    from rich.progress import track

    from vertebra.inference.io.inputs import expected_count

    console = Console(stderr=True)
    if not console.is_terminal:
        return results
    return track(results, total=expected_count(sources), description="predict", console=console)
