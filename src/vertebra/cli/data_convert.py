"""``vertebra data convert``: writes a data set in another format."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import typer


def convert(
    path: str = typer.Argument(..., help="A data set: folder or annotation file."),
    out: str = typer.Argument(..., help="Folder of the new data set; it must not exist, or be empty."),
    to: str = typer.Option(
        ..., help="The new format: coco, coco_panoptic, yolo, dota, voc, masks, csv, image_folder, labelme or tar."
    ),
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
