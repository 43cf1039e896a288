"""``vertebra eval``: a trained model's metrics on a split."""

from __future__ import annotations

from typing import Any

import typer

from vertebra.cli.printing import print_json


def evaluate(
    source: str = typer.Argument(..., help="A run folder, a model file, or an exported file."),
    split: str = typer.Option("test", help="train, val or test; model.evaluate() in Python has val."),
    data: str | None = typer.Option(None, help="A data set; by default the run's."),
    branch: list[str] = typer.Option([], help="Evaluate only this branch; may be repeated. By default all."),
    ignore_index: int | None = typer.Option(None, help="Mask value of ignored pixels."),
    rename_classes: list[str] = typer.Option(
        [],
        "--rename-class",
        metavar="NAME=NAME",
        help="A class name of --data and the name in the model; may be repeated.",
    ),
    batch_size: int = typer.Option(8, min=1, help="Batch size."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best available."),
    runtime: str | None = typer.Option(
        None, help="torch, onnx, openvino or tensorrt; by default the one stored by benchmark, else torch."
    ),
    precision: str | None = typer.Option(
        None, help="fp32, bf16, fp16 (GPU) or int8; by default the one stored by benchmark, else fp32."
    ),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; by default all available CPUs."),
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
    width = max(map(len, scores), default=0)
    for name, value in scores.items():
        typer.echo(f"{name:<{width}}  {value:.4f}")
