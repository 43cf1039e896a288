"""``vertebra eval``: a trained model's metrics on a split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from vertebra.cli.printing import print_json


def evaluate(
    source: str = typer.Argument(..., help="A run folder, a model file, or an exported file."),
    split: str = typer.Option("test", help="train, val or test; model.evaluate() in Python has val."),
    data: str | None = DATA,
    branch: list[str] = BRANCH,
    ignore_index: int | None = IGNORE_INDEX,
    rename_classes: list[str] = RENAME_CLASSES,
    batch_size: int = BATCH_SIZE,
    device: str | None = DEVICE,
    runtime: str | None = RUNTIME,
    precision: str | None = PRECISION,
    threads: int | None = THREADS,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object with keys branch/metric."),
) -> None:
    """Evaluate a model on labeled images."""
    from vertebra.evaluation.measured_data import read_renames
    from vertebra.export.evaluate import evaluate as measure

    runtime_options: dict[str, Any] = {"runtime": runtime, "precision": precision, "threads": threads}
    data_options: dict[str, Any] = {
        "split": split,
        "data": data,
        "branches": branch or None,
        "ignore_index": ignore_index,
    }
    class_names = read_renames(rename_classes)
    scores = measure(
        source, **runtime_options, **data_options, rename_classes=class_names, batch_size=batch_size, device=device
    )
    if as_json:
        print_json(scores)
        return
    for line in score_lines(scores):
        typer.echo(line)


def score_lines(scores: Mapping[str, float]) -> list[str]:
    """Metrics as text: a line each, then a table for each branch of those of single classes or points, a row each."""
    from vertebra.training.metrics_table import is_of_class

    whole = {name: value for name, value in scores.items() if not is_of_class(name)}
    width = max(map(len, whole), default=0)
    lines = [f"{name:<{width}}  {value:.4f}" for name, value in whole.items()]
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for name in scores:
        if name in whole:
            continue
        branch, metric, class_name = name.split("/", 2)
        tables.setdefault(branch, {}).setdefault(class_name, {})[metric] = scores[name]
    for branch, classes in tables.items():
        lines += ["", *_class_table(branch, classes)]
    return lines


def _class_table(branch: str, classes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A row for each class or point, with a column for each metric; empty where a metric of it is undefined."""
    metrics = list(dict.fromkeys(metric for values in classes.values() for metric in values))
    width = max(len(branch), *map(len, classes))
    head = "  ".join([branch.ljust(width), *(f"{metric:>8}" for metric in metrics)])
    rows = [
        "  ".join(
            [
                name.ljust(width),
                *(f"{values[m]:>{max(8, len(m))}.4f}" if m in values else " " * max(8, len(m)) for m in metrics),
            ]
        ).rstrip()
        for name, values in classes.items()
    ]
    return [head, *rows]
