"""``vertebra predict``: pictures and JSON of what a model sees."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from vertebra.inference.pipeline import Pipeline
    from vertebra.inference.results import Result


def predict(
    source: str = typer.Argument(..., help="A run folder, a model file, or an exported file."),
    images: list[str] = typer.Argument(..., help="Images, folders, or quoted patterns such as 'photos/**/*.jpg'."),
    out: str | None = typer.Option(None, help="Folder for the pictures; one picture a branch and image."),
    lines: str | None = typer.Option(
        None, help="File for JSON lines, written as they come; images that stand in it already are left out."
    ),
    threshold: float = typer.Option(0.3, min=0.0, max=1.0, help="Boxes below this score are left out."),
    batch_size: int = typer.Option(8, min=1, help="Images, or tiles, at a time."),
    tile: int | None = typer.Option(None, help="Look at larger images in square tiles of this side, in image pixels."),
    overlap: float = typer.Option(0.2, help="Least overlap of tiles, as a part of their side."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best there is."),
    runtime: str | None = typer.Option(
        None, help="torch, onnx, openvino or tensorrt; by default as chosen by tune-runtime, else torch."
    ),
    precision: str | None = typer.Option(
        None, help="fp32, bf16, fp16 (GPU) or int8: faster where the processor has it. By default fp32."
    ),
    compile: bool = typer.Option(False, "--compile", help="Compile the model first, which takes half a minute."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; by default all cores."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list, an object an image."),
) -> None:
    """Predict on images of any size and draw what comes out."""
    from vertebra.errors import ConfigError
    from vertebra.inference.json_lines import JsonLines
    from vertebra.inference.results import list_images

    if out is None and lines is None and not as_json:
        raise ConfigError("say what you want: pictures with --out FOLDER, JSON lines with --lines FILE, or --json")
    files = list_images(images)
    single = len(images) == 1 and Path(images[0]).is_file()
    options = {
        "batch_size": batch_size,
        "threshold": threshold,
        "skip_unreadable": not single,
        "tile": tile,
        "overlap": overlap,
    }
    predictor = _predictor(
        source,
        {"runtime": runtime, "precision": precision, "compile": compile, "threads": threads},
        {"device": device, **options},
    )
    shown, pictures = [], 0
    with JsonLines(Path(lines)) if lines is not None else nullcontext() as written:
        if written is not None and written.done:
            left = [file for file in files if str(file) not in written.done]
            print(f"{len(files) - len(left)} of {len(files)} images stand in {lines} already", file=sys.stderr)
            files = left
        for result in _with_progress(predictor.stream(files), len(files)):
            if as_json:
                shown.append(result.to_dict())
            if written is not None:
                written.write(result.to_dict())
            if out is not None:
                pictures += _draw(result, Path(out))
    for message in predictor.skipped:
        print(f"skipped: {message}", file=sys.stderr)
    if predictor.skipped:
        print(f"{len(predictor.skipped)} of {len(files)} images were skipped", file=sys.stderr)
    if out is not None:
        print(f"{pictures} pictures in {out}", file=sys.stderr)
    if written is not None:
        print(f"{len(written.done)} images in {lines}", file=sys.stderr)
    if as_json:
        typer.echo(json.dumps(shown))


def _predictor(source: str, way: dict[str, Any], options: dict[str, Any]) -> Pipeline:
    """What runs a model, or an exported file, for which torch is not loaded.

    Args:
        way: what the user asked for: runtime, precision, compile, threads.
        options: the device, and those of any predictor.
    """
    from vertebra.inference.sessions import is_exported

    if is_exported(source):
        from vertebra.errors import ConfigError
        from vertebra.inference.exported import ExportedModel

        if way.pop("compile"):
            raise ConfigError("an exported file is compiled by its runtime; leave out --compile")
        return ExportedModel(source, device=options.pop("device"), **way).predictor(**options)
    from vertebra.export.prepared import choose_way, open_in

    return open_in(source, choose_way(source, **way), **options)


def _with_progress(results: Iterable[Result], total: int) -> Iterable[Result]:
    """The same, with a bar where a person looks on."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(results, total=total, description="predict", console=console, disable=not console.is_terminal)


def _draw(result: Result, folder: Path) -> int:
    """Writes one picture a branch under a name that is free."""
    folder.mkdir(parents=True, exist_ok=True)
    for branch, prediction in result.items():
        stem = f"{result.path.stem if result.path else 'image'}_{branch}"
        target, number = folder / f"{stem}.jpg", 1
        while target.exists():
            number += 1
            target = folder / f"{stem}-{number}.jpg"
        prediction.draw().convert("RGB").save(target, quality=92)
    return len(result)
