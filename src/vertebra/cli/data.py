"""``vertebra data``: looks at a data set before a model does."""

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
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Find what would hurt: unreadable images, wrong boxes and masks, empty classes, images in two splits."""
    from vertebra.data.checks import check_data

    report = check_data(path, task, split=split, format=format_name)
    if as_json:
        print_json(dataclasses.asdict(report), default=str)
        return
    typer.echo(report.text())
