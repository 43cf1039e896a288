"""``vertebra data split``: draws splits or folds of a data set, and writes them as list files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from vertebra.cli.data_options import FORMAT, GROUP_BY, IGNORE_INDEX, PATH, TASK, progress_bar

MOST_COLUMNS = 8  # of a table that fits a terminal


def split(
    path: str = PATH,
    out: Path = typer.Option(..., help="The folder of the lists: train.txt, val.txt, test.txt, or fold_0 and so on."),
    val: float = typer.Option(0.1, help="Share of the images for validation."),
    test: float = typer.Option(0.0, help="Share of the images for test; 0 keeps a test split that the data set has."),
    folds: int | None = typer.Option(
        None, help="Number of folds for cross-validation, each with a train.txt and val.txt."
    ),
    group_by: str | None = GROUP_BY,
    task: str | None = TASK,
    format_name: str | None = FORMAT,
    ignore_index: int | None = IGNORE_INDEX,
    seed: int = typer.Option(0, help="Seed of the draw."),
) -> None:
    """Draw splits with all classes in proportion, and groups and near-duplicates together; train on them with --lists."""
    from rich.console import Console
    from rich.table import Table

    from vertebra.data.dividing import divide_data

    options: dict[str, Any] = {"task": task, "format": format_name, "val": val, "test": test, "folds": folds}
    with progress_bar("read") as progress:
        divided = divide_data(
            path, out, group_by=group_by, seed=seed, ignore_index=ignore_index, progress=progress, **options
        )
    columns = next(iter(divided.counts.values()))
    if len(columns) <= MOST_COLUMNS:
        table = Table("split", *columns)
        for name, counts in divided.counts.items():
            table.add_row(name, *map(str, counts.values()))
    else:  # a class in each row, since so many columns have no room for a letter
        table = Table("", *divided.counts)
        for column in columns:
            table.add_row(column, *(str(counts[column]) for counts in divided.counts.values()))
    Console().print(table)
    for note in divided.notes:
        typer.echo(note)
    example = out / "fold_0" if folds else out
    typer.echo(f"lists in {out}; train on them: vertebra train --data {path} --lists {example} ...")
