"""``vertebra data``: checks, shows and divides a data set before training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from vertebra.cli.printing import print_json

app = typer.Typer(help="Check, show or divide a data set.", no_args_is_help=True, rich_markup_mode=None)

PATH = typer.Argument(..., help="A data set: folder or annotation file.")
TASK = typer.Option(
    None,
    help="a task's name (classify, detect, segment, keypoints, or an installed one); by default all that it has labels for.",
)
FORMAT = typer.Option(None, "--format", help="The format; by default detected.")
IGNORE_INDEX = typer.Option(None, help="Mask value of ignored pixels.")
GROUP_BY = typer.Option(
    None,
    help="Images that belong together: FOLDER, a column of the table, or a regular expression with a group, such as '(clip\\d+)_'; "
    "by default guessed from names and content.",
)


@app.callback()
def _data() -> None:
    """Check, show or divide a data set."""


@app.command("check")
def check(
    path: str = PATH,
    task: str | None = TASK,
    split: str | None = typer.Option(None, help="Check only this split."),
    format_name: str | None = FORMAT,
    ignore_index: int | None = IGNORE_INDEX,
    group_by: str | None = GROUP_BY,
    seed: int = typer.Option(0, help="Seed of the random split, for a data set without splits."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, with all files of each finding."),
    fix: Path | None = typer.Option(None, help="Write a mended copy of the data set into this new folder."),
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
        raise ConfigError("--merge-classes needs --fix FOLDER, where the mended copy is written")
    with progress_bar("check") as progress:
        report = check_data(
            path,
            task,
            split=split,
            format=format_name,
            ignore_index=ignore_index,
            seed=seed,
            group_by=group_by,
            progress=progress,
        )
    if as_json:
        print_json({**dataclasses.asdict(report), "sound": report.sound}, default=str)
    else:
        typer.echo(report.text())
    if fix is not None:
        options = {"format": report.format, "ignore_index": ignore_index}
        for note in fix_data(path, fix, report, merge_classes=merge_classes, **options):
            typer.echo(f"fix: {note}", err=as_json)
    if not report.sound:
        raise typer.Exit(1)


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error, moved by calls with the number of images read and of all; None where it is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(console=console, transient=True) as bar:
        row = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)
