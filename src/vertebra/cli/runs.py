"""``vertebra runs``: the training runs in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vertebra.cli.printing import print_json

if TYPE_CHECKING:
    from pathlib import Path

    from vertebra.training.run_list import RunSummary

HEAD = ("run", "state", "epochs", "metrics of the best weights", "time", "model", "data", "started")


def runs(
    folder: str = typer.Argument("runs", help="A folder with run folders, also in folders in it."),
    sort: str | None = typer.Option(
        None, metavar="METRIC", help="Best first by a metric, such as boxes/map_50 or map_50; by default newest first."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON list with all metrics."),
) -> None:
    """List training runs: state, epochs, metrics of the best weights, time, model and data."""
    from pathlib import Path

    from vertebra.training.run_list import list_runs

    summaries = list_runs(folder, sort=sort)
    if as_json:
        print_json([run.to_dict() for run in summaries], indent=2)
        return
    if not summaries:
        typer.echo(f"no runs in {folder}")
        return
    rows = [HEAD, *(_cells(run, Path(folder), sort) for run in summaries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    reasons = ["", *(run.reason for run in summaries)]
    for row, reason in zip(rows, reasons, strict=True):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if reason:
            typer.echo(f"    {reason}")


def _cells(run: RunSummary, root: Path, sort: str | None) -> tuple[str, ...]:
    """A row of the table."""
    from pathlib import Path

    from vertebra.training.durations import duration_text

    names = dict.fromkeys([*([sort] if sort else []), *run.headline])
    values = {name: run.metric(name) for name in names}
    metrics = [f"{name} {value:.4f}" for name, value in values.items() if value is not None]
    epochs = f"{run.epochs_done}/{run.epochs}" if run.epochs else str(run.epochs_done)
    return (
        str(run.folder.relative_to(root)) if run.folder != root else str(run.folder),
        run.state,
        epochs,
        ", ".join(metrics),
        duration_text(run.seconds) if run.seconds else "",
        " + ".join(filter(None, [run.backbone, ", ".join(run.decoders.values())])),
        ", ".join(Path(path).name for path in run.data),
        run.date[:16].replace("T", " "),
    )
