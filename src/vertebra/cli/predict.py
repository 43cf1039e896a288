"""``vertebra predict``: pictures and JSON of what a model sees."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from vertebra.inference.opening import Opening
    from vertebra.inference.pipeline import Pipeline
    from vertebra.inference.ray_engine import RayPredictor
    from vertebra.inference.results import Result


def predict(
    source: str = typer.Argument(..., help="A run folder, a model file, or an exported file."),
    images: list[str] = typer.Argument(
        ..., help="Images, videos, folders of images, quoted patterns such as 'photos/**/*.jpg'; or camera:0, rtsp://…"
    ),
    out: str | None = typer.Option(
        None, help="Folder for the pictures; one picture a branch and image, one video a branch and video."
    ),
    lines: str | None = typer.Option(
        None, help="File for JSON lines, written as they come; images and frames that stand in it already are left out."
    ),
    coco: str | None = typer.Option(None, help="File for COCO results of a branch that detects or finds keypoints."),
    annotations: str | None = typer.Option(
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
        None, help="torch, onnx, openvino or tensorrt; by default as chosen by tune-runtime, else torch."
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
    """Predict on images of any size and draw what comes out."""
    from vertebra.cli.writing import Outputs, Wanted
    from vertebra.inference.live import Camera
    from vertebra.inference.looks import scales_of
    from vertebra.inference.results import list_images
    from vertebra.inference.sources import as_source

    sources = [as_source(image) for image in list_images(images)]
    wanted = Wanted(out, lines, coco, annotations, branch, as_json)
    wanted.check(sources)
    single = len(images) == 1 and (Path(images[0]).is_file() or isinstance(sources[0], Camera))
    options = {
        "batch_size": batch_size,
        "threshold": threshold,
        "skip_unreadable": not single,
        "tile": tile,
        "overlap": overlap,
        "flip": flip,
        "scales": scales_of(scales),
    }
    predictor = _predictor(
        source,
        {"runtime": runtime, "precision": precision, "compile": compile, "threads": threads},
        {"device": device, **options},
        {"engine": engine, "address": address, "workers": workers},
    )
    outputs = Outputs(wanted, sources, predictor.face)
    try:
        with outputs:
            left = outputs.left()
            _say(outputs.told_before(left))
            with closing(predictor.stream(left)) as results:
                for result in _with_progress(results, left):
                    outputs.write(result)
    finally:
        _say([f"skipped: {message}" for message in predictor.skipped])
        if predictor.skipped:
            _say([f"{len(predictor.skipped)} of {len(sources)} images were skipped"])
        _say(outputs.told())
    if as_json:
        typer.echo(json.dumps(outputs.shown))


def _say(messages: Iterable[str]) -> None:
    for message in messages:
        print(message, file=sys.stderr)


def _predictor(
    source: str, way: dict[str, Any], options: dict[str, Any], where: dict[str, Any]
) -> Pipeline | RayPredictor:
    """What runs a model, or an exported file, for which torch is not loaded.

    Args:
        way: what the user asked for: runtime, precision, compile, threads.
        options: the device, and those of any predictor.
        where: the engine, and of a Ray cluster the address and workers.
    """
    from vertebra.errors import ConfigError, UnknownName

    engine = where.pop("engine")
    if engine not in ("local", "ray"):
        raise UnknownName("engine", engine, ("local", "ray"))
    if engine == "local" and any(value is not None for value in where.values()):
        raise ConfigError("--address and --workers are for a Ray cluster; add --engine ray, or leave them out")
    opened = _opening(source, way, options.pop("device"))
    if engine == "local":
        return opened.predictor(**options)
    from vertebra.inference.ray_engine import RayPredictor

    return RayPredictor(opened, **where, **options)


def _opening(source: str, way: dict[str, Any], device: str | None) -> Opening:
    """The file that is run, and how it is opened."""
    from vertebra.inference.sessions import is_exported

    if is_exported(source):
        from vertebra.errors import ConfigError
        from vertebra.inference.opening import Opening

        if way["compile"]:
            raise ConfigError("an exported file is compiled by its runtime; leave out --compile")
        return Opening(Path(source), **way, device=device)
    from vertebra.export.prepared import choose_way, opening

    return opening(source, choose_way(source, **way), device=device)


def _with_progress(results: Iterable[Result], sources: Iterable[Any]) -> Iterable[Result]:
    """The same, with a bar where a person looks on; it has no end where one cannot be known."""
    from rich.console import Console
    from rich.progress import track

    from vertebra.inference.sources import expected

    console = Console(stderr=True)
    if not console.is_terminal:
        return results
    return track(results, total=expected(sources), description="predict", console=console)
