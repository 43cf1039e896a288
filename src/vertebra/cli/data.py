"""``vertebra data``: checks a data set before training."""

from __future__ import annotations

import dataclasses

import typer

from vertebra.cli.printing import print_json

app = typer.Typer(help="Look at a data set.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _data() -> None:
    """Look at a data set."""


@app.command("check")
def check(
    path: str = typer.Argument(..., help="A data set: folder or annotation file."),
    task: str = typer.Option(..., help="classify, detect, segment or keypoints."),
    split: str | None = typer.Option(None, help="One split only."),
    format_name: str | None = typer.Option(None, "--format", help="The format, where it is not detected."),
    ignore_index: int | None = typer.Option(None, help="Mask value of pixels that do not count."),
    seed: int = typer.Option(0, help="Seed of the draw of splits, where the data set has none."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Find what would hurt: unreadable images, wrong boxes and masks, splits with nothing in them, images in two splits.

    Exits with 1 if training would refuse the data or be spoiled by them, and with 0 if there are warnings at most.
    """
    from vertebra.data.checks import check_data

    report = check_data(path, task, split=split, format=format_name, ignore_index=ignore_index, seed=seed)
    if as_json:
        print_json(dataclasses.asdict(report), default=str)
    else:
        typer.echo(report.text())
    if not report.sound:
        raise typer.Exit(1)
