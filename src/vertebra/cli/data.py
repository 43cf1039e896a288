"""``vertebra data``: checks, shows, divides and converts data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import typer

from vertebra.cli import data_convert, data_show, data_split
from vertebra.cli.data_options import COLUMN, FORMAT, GROUP_BY, IGNORE_INDEX, PATH, TASK, columns_of, progress_bar
from vertebra.cli.printing import print_json

app = typer.Typer(help="Check, show, divide or convert a data set.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _data() -> None:
    """Check, show, divide or convert a data set."""


@app.command("check")
def check(
    path: str = PATH,
    task: str | None = TASK,
    split: str | None = typer.Option(None, help="Check only this split."),
    format_name: str | None = FORMAT,
    ignore_index: int | None = IGNORE_INDEX,
    group_by: str | None = GROUP_BY,
    column: list[str] = COLUMN,
    seed: int = typer.Option(0, help="Seed of the random split, for a data set without splits."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, with all files of each finding."),
    fix: Path | None = typer.Option(None, help="Write a corrected copy of the data set into this new folder."),
    merge_classes: bool = typer.Option(
        False, "--merge-classes", help="With --fix: make one class of those whose names are likely the same."
    ),
) -> None:
    """Find problems before training: in images, annotations, classes and splits, with what to do about each.

    Exits with 1 if there are errors, which training refuses or which make its results useless; with 0 if there are only warnings.
    """
    from vertebra.data.check.fix import fix_data
    from vertebra.data.check.run import check_data
    from vertebra.errors import ConfigError

    if merge_classes and fix is None:
        raise ConfigError("--merge-classes needs --fix FOLDER, where the corrected copy is written")
    with progress_bar("check") as progress:
        report = check_data(
            path,
            task,
            split=split,
            format=format_name,
            ignore_index=ignore_index,
            seed=seed,
            group_by=group_by,
            columns=columns_of(column),
            progress=progress,
        )
    if as_json:
        print_json({**dataclasses.asdict(report), "sound": report.sound}, default=str)
    else:
        typer.echo(report.text())
    if fix is not None:
        options: dict[str, Any] = {"ignore_index": ignore_index, "columns": columns_of(column)}
        for note in fix_data(path, fix, report, merge_classes=merge_classes, **options):
            typer.echo(f"fix: {note}", err=as_json)
    if not report.sound:
        raise typer.Exit(1)


@app.command("formats")
def formats() -> None:
    """List the formats that are read, each with its files and the tasks that it has labels for."""
    from vertebra.data.readers import all_readers

    for name, reader in all_readers().items():
        typer.echo(f"{name}: {reader.summary}. For {', '.join(reader.tasks)}")


app.command("show")(data_show.show)
app.command("split")(data_split.split)
app.command("convert")(data_convert.convert)
