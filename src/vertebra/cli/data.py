"""``vertebra data``: checks a data set before training, and converts data sets to other formats."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from vertebra.cli.printing import print_json
from vertebra.errors import ConfigError, shortened

app = typer.Typer(help="Check or convert a data set.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _data() -> None:
    """Check or convert a data set."""


def _pair(text: str) -> tuple[str, str]:
    """What is read, and the column's name, from "image=path"."""
    role, _, column = text.partition("=")
    if not role or not column:
        raise ConfigError(f"--column {shortened(text)}: write what is read and the column's name, as image=path")
    return role, column


@app.command("check")
def check(
    path: str = typer.Argument(..., help="A data set: folder or annotation file."),
    task: str = typer.Option(..., help="a task's name (classify, detect, segment, keypoints, or an installed one)."),
    split: str | None = typer.Option(None, help="Check only this split."),
    format_name: str | None = typer.Option(None, "--format", help="The format; by default detected."),
    ignore_index: int | None = typer.Option(None, help="Mask value of ignored pixels."),
    column: list[str] = typer.Option(
        [], help="A column of a table: image=path, label=species; may be given several times."
    ),
    seed: int = typer.Option(0, help="Seed of the random split, for a data set without splits."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Find problems before training: unreadable images, wrong boxes and masks, empty splits, the same image in two splits.

    Exits with 1 if there are errors, which training refuses or which make its results useless; with 0 if there are only warnings.
    """
    from vertebra.data.checks import check_data

    columns = dict(_pair(text) for text in column)
    options: dict[str, Any] = {
        "split": split,
        "format": format_name,
        "ignore_index": ignore_index,
        "seed": seed,
        "columns": columns,
    }
    report = check_data(path, task, **options)
    if as_json:
        print_json(dataclasses.asdict(report), default=str)
    else:
        typer.echo(report.text())
    if not report.sound:
        raise typer.Exit(1)


@app.command("convert")
def convert(
    path: str = typer.Argument(..., help="A data set: folder or annotation file."),
    out: str = typer.Argument(..., help="Folder of the new data set; it must not exist, or be empty."),
    to: str = typer.Option(..., help="The new format: coco, yolo, voc, masks, csv, labelme or tar."),
    format_name: str | None = typer.Option(None, "--format", help="The format of the data set; by default detected."),
    split: str | None = typer.Option(None, help="Convert only this split."),
    classes: str | None = typer.Option(None, help="Only these classes, separated by commas, in this order."),
    images: str = typer.Option("copy", help="copy, link (hard links), or none (annotations alone)."),
    shard_size: float = typer.Option(512.0, min=0.001, help="Largest size of a tar shard in MB."),
) -> None:
    """Write a data set in another format, with counted notes about what this cannot hold.

    Ids, areas, coordinates and order stay as they are where the new format has them. Images keep their names and are never encoded
    again.
    """
    from vertebra.data.convert import convert_data

    listed = None if classes is None else [name.strip() for name in classes.split(",") if name.strip()]
    notes = convert_data(
        path,
        to,
        out,
        format=format_name,
        split=split,
        classes=listed,
        images=images,
        shard_size=shard_size,
        progress=_progress,
    )
    for note in notes:
        print(note, file=sys.stderr)
    typer.echo(f"{to} data set in {out}")


def _progress(rows: Sequence[int], text: str) -> Iterable[int]:
    """The same rows, with a progress bar in a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(rows, description=text, console=console) if console.is_terminal else rows
