"""``vertebra report``: an HTML page about a trained model, or about several side by side."""

from __future__ import annotations

from pathlib import Path

import typer

from vertebra.cli.data_options import IGNORE_INDEX
from vertebra.cli.evaluation_options import (
    BATCH_SIZE,
    BRANCH,
    DATA,
    DEVICE,
    PRECISION,
    RENAME_CLASSES,
    RUNTIME,
    THREADS,
)


def report(
    sources: list[str] = typer.Argument(
        ..., metavar="RUN...", help="A run folder, a model file, or an exported file; several are compared."
    ),
    split: str = typer.Option("val", help="train, val or test."),
    data: str | None = DATA,
    out: Path | None = typer.Option(
        None,
        help="The page; by default report.html in the run folder (report_test.html with --split test), NAME_report.html "
        "beside a file, comparison.html here for several.",
    ),
    branch: list[str] = BRANCH,
    ignore_index: int | None = IGNORE_INDEX,
    rename_classes: list[str] = RENAME_CLASSES,
    batch_size: int = BATCH_SIZE,
    device: str | None = DEVICE,
    runtime: str | None = RUNTIME,
    precision: str | None = PRECISION,
    threads: int | None = THREADS,
) -> None:
    """Write an HTML page about a trained model, or a comparison of several."""
    from vertebra.evaluation.measured_data import read_renames
    from vertebra.export.report import write_report

    path = write_report(
        sources,
        out=out,
        split=split,
        data=data,
        batch_size=batch_size,
        branches=branch or None,
        ignore_index=ignore_index,
        rename_classes=read_renames(rename_classes),
        device=device,
        runtime=runtime,
        precision=precision,
        threads=threads,
    )
    typer.echo(str(path))
