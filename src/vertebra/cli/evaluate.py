"""``vertebra eval``: a trained model's metrics on a split."""

from __future__ import annotations

import json

import typer


def evaluate(
    source: str = typer.Argument(..., help="A run folder or a model file."),
    split: str = typer.Option("test", help="train, val or test."),
    data: str | None = typer.Option(None, help="Another data set than the run's own."),
    batch_size: int = typer.Option(8, min=1, help="Images at a time."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best there is."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object with keys branch/metric."),
) -> None:
    """Measure a model on labelled images."""
    from vertebra.training.run import evaluate as evaluate_run

    scores = evaluate_run(source, split=split, data=data, batch_size=batch_size, device=device)
    if as_json:
        typer.echo(json.dumps(scores))
        return
    width = max(map(len, scores), default=0)
    for name, value in scores.items():
        typer.echo(f"{name:<{width}}  {value:.4f}")
