"""``vertebra predict``: pictures and JSON of what a model sees."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from vertebra.cli.printing import print_json

if TYPE_CHECKING:
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
        None, help="Folder for the pictures; one picture a branch and image, one video a branch and video."
    ),
    masks: str | None = typer.Option(
        None,
        help="Folder for the masks of branches that segment: PNG files of class ids, named in classes.json beside them.",
    ),
    jsonl: str | None = typer.Option(
        None, help="File for JSON lines, written as they come; images and frames that stand in it already are left out."
    ),
    coco_results: str | None = typer.Option(
        None, help="File for COCO results of a branch that detects, segments or finds keypoints."
    ),
    coco_gt: str | None = typer.Option(
        None, help="COCO file with the ids of images and categories; by default numbers in file names, and class ids."
    ),
    branch: str | None = typer.Option(None, help="Whose objects go into the COCO results, where there are several."),
    threshold: float = typer.Option(0.3, min=0.0, max=1.0, help="Boxes below this score are left out."),
    batch_size: int = typer.Option(8, min=1, help="Images, or tiles, at a time."),
    tile: int | None = typer.Option(None, help="Look at larger images in square tiles of this side, in image pixels."),
    overlap: float = typer.Option(0.2, help="Least overlap of tiles, as a part of their side."),
    flip: bool = typer.Option(False, "--flip", help="Look at images, or tiles, mirrored too, and merge what is found."),
    scales: str = typer.Option("1", help="Look at several scales of the canvas, such as 0.8,1,1.25, and merge."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best there is."),
    runtime: str | None = typer.Option(
        None, help="torch, onnx, openvino or tensorrt; by default as chosen by benchmark, else torch."
    ),
    precision: str | None = typer.Option(
        None, help="fp32, bf16, fp16 (GPU) or int8: faster where the processor has it. By default fp32."
    ),
    compile: bool = typer.Option(False, "--compile", help="Compile the model first, which takes half a minute."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; by default all CPUs that may be used."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list, an object an image."),
    engine: str = typer.Option("local", help="local, or ray: the workers of a Ray cluster share the images."),
    address: str | None = typer.Option(
        None, help="Of the Ray cluster: auto, host:port, ray://host:port; by default RAY_ADDRESS, else local."
    ),
    workers: int | None = typer.Option(None, min=1, help="Workers on the Ray cluster; by default as many as fit."),
) -> None:
    """Predict on images of any size and draw what comes out.

    Exits with 0 if all is well, 3 if some images could not be read, and 2 if nothing could be done.
    """
    from vertebra.cli.writing import Outputs, Wanted
    from vertebra.inference.io.image_urls import ImageUrl
    from vertebra.inference.io.inputs import as_source, list_images
    from vertebra.inference.io.streams import Camera
    from vertebra.inference.jobs import describe_job
    from vertebra.inference.tta import check_scales

    sources = [as_source(image) for image in list_images(images)]
    wanted = Wanted(out, masks, jsonl, coco_results, coco_gt, branch, as_json)
    wanted.check(sources)
    single = len(images) == 1 and (Path(images[0]).is_file() or isinstance(sources[0], Camera | ImageUrl))
    options = {
        "batch_size": batch_size,
        "threshold": threshold,
        "skip_unreadable": not single,
        "tile": tile,
        "overlap": overlap,
        "flip": flip,
        "scales": check_scales(scales),
    }
    where = _checked({"engine": engine, "address": address, "workers": workers})
    way = {"runtime": runtime, "precision": precision, "compile": compile, "threads": threads}
    chosen = _choose(source, way, device)
    predictor = _predictor(chosen.resolve_source, options, where)
    beside = {name: "given" if folder else "not given" for name, folder in (("--out", out), ("--masks", masks))}
    job = describe_job(source, chosen.files, chosen.computed_in, options, **beside) if jsonl or coco_results else {}
    outputs = Outputs(wanted, images, sources, predictor.info, job)
    try:
        with outputs:
            left = outputs.left()
            _say(outputs.told_before(left))
            try:
                with closing(predictor.stream(left)) as results:
                    for result in _with_progress(results, left):
                        outputs.write(result)
            finally:
                outputs.fail(predictor.skipped)
    finally:
        _say(outputs.told())
    if as_json:
        print_json(outputs.listed())
    raise typer.Exit(outputs.exit_code)


class _Chosen(NamedTuple):
    """How a model is run: what is opened, the files that hold the model itself, and what it is computed in."""

    resolve_source: ModelSource
    files: list[Path]
    computed_in: str


def _say(messages: Iterable[str]) -> None:
    for message in messages:
        print(message, file=sys.stderr)


def _checked(where: dict[str, Any]) -> dict[str, Any]:
    """The engine, and of a Ray cluster the address and workers, if they fit together."""
    from vertebra.errors import ConfigError, UnknownName

    if where["engine"] not in ("local", "ray"):
        raise UnknownName("engine", where["engine"], ("local", "ray"))
    if where["engine"] == "local" and (where["address"] is not None or where["workers"] is not None):
        raise ConfigError("--address and --workers are for a Ray cluster; add --engine ray, or leave them out")
    return where


def _predictor(resolve_source: ModelSource, options: dict[str, Any], where: dict[str, Any]) -> Pipeline | RayPredictor:
    """What runs a model, or an exported file, for which torch is not loaded.

    Args:
        options: of any predictor.
        where: see `_checked`.
    """
    if where["engine"] == "local":
        return resolve_source.predictor(**options)
    from vertebra.inference.ray.predictor import RayPredictor

    return RayPredictor(resolve_source, address=where["address"], workers=where["workers"], **options)


def _choose(source: str, way: dict[str, Any], device: str | None) -> _Chosen:
    """The file that is run, and how.

    Args:
        way: what the user asked for: runtime, precision, compile, threads.
    """
    from vertebra.runtimes import is_exported

    if is_exported(source):
        from vertebra.errors import ConfigError
        from vertebra.inference.model_source import ModelSource
        from vertebra.runtimes import computed_in

        if way["compile"]:
            raise ConfigError("an exported file is compiled by its runtime; leave out --compile")
        opened = ModelSource(Path(source), **way, device=device)
        return _Chosen(opened, opened.files, computed_in(source, way["runtime"], way["precision"]))
    from vertebra.export.runtime_cache import resolve_runtime, resolve_source
    from vertebra.weights.model_file import model_path

    chosen = resolve_runtime(source, **way)
    # in fp32, every runtime's file was compared with PyTorch, number by number
    how = "fp32" if chosen.precision == "fp32" else f"{chosen.precision} by {chosen.runtime}"
    return _Chosen(resolve_source(source, chosen, device=device), [model_path(source)], how)


def _with_progress(results: Iterable[Result], sources: Iterable[Any]) -> Iterable[Result]:
    """The same, with a bar where a person looks on; it has no end where one cannot be known."""
    from rich.console import Console
    from rich.progress import track

    from vertebra.inference.io.inputs import expected

    console = Console(stderr=True)
    if not console.is_terminal:
        return results
    return track(results, total=expected(sources), description="predict", console=console)
