"""``vertebra predict``: pictures and JSON of what a model sees."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer


def predict(
    source: str = typer.Argument(..., help="A run folder or a model file."),
    images: list[str] = typer.Argument(..., help="Images or folders."),
    out: str | None = typer.Option(None, help="Folder for the pictures; one picture a branch and image."),
    threshold: float = typer.Option(0.3, min=0.0, max=1.0, help="Boxes below this score are left out."),
    batch_size: int = typer.Option(8, min=1, help="Images at a time."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best there is."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list, an object an image."),
) -> None:
    """Predict on images of any size and draw what comes out."""
    from rich.console import Console
    from rich.progress import track

    from vertebra.errors import ConfigError
    from vertebra.inference.predictor import Predictor, list_images
    from vertebra.weights.model_file import load

    if out is None and not as_json:
        raise ConfigError("say what you want: pictures with --out FOLDER, or --json, or both")
    files = list_images(images)
    single = len(images) == 1 and Path(images[0]).is_file()
    predictor = Predictor(
        load(source), device=device, batch_size=batch_size, threshold=threshold, skip_unreadable=not single
    )
    console = Console(stderr=True)
    shown, written = [], 0
    for result in track(
        predictor.stream(files),
        total=len(files),
        description="predict",
        console=console,
        disable=not console.is_terminal,
    ):
        if as_json:
            shown.append(result.to_dict())
        if out is not None:
            written += _draw(result, Path(out))
    for message in predictor.skipped:
        print(f"skipped: {message}", file=sys.stderr)
    if predictor.skipped:
        print(f"{len(predictor.skipped)} of {len(files)} images were skipped", file=sys.stderr)
    if out is not None:
        print(f"{written} pictures in {out}", file=sys.stderr)
    if as_json:
        typer.echo(json.dumps(shown))


def _draw(result, folder: Path) -> int:  # type: ignore[no-untyped-def]
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
