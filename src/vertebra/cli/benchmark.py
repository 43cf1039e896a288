"""``vertebra benchmark``: speed and accuracy of a model in each runtime and precision on this machine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from vertebra.cli.printing import print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vertebra.data.batches import Batch
    from vertebra.export.benchmark import RuntimeBenchmark
    from vertebra.model import VisionModel


def benchmark(
    source: str = typer.Argument(..., help="A run folder or a model file."),
    images: str | None = typer.Option(
        None, help="Images or a data set to measure with; by default the run's training images."
    ),
    data: str | None = typer.Option(
        None, help="A labeled data set for the metrics; by default the run's validation data, if available."
    ),
    max_labeled: int = typer.Option(200, "--labeled", min=1, help="Number of labeled images for the metrics."),
    by: str = typer.Option("latency", help="Criterion for the best one: latency or throughput."),
    metric_loss: float = typer.Option(0.01, min=0.0, help="Largest allowed fall of a metric of the best one."),
    batch_size: int = typer.Option(8, min=1, help="Batch size, for the throughput."),
    seconds: float = typer.Option(2.0, min=0.0, help="Duration of each measurement."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best available."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; by default all available CPUs."),
    compile: bool = typer.Option(False, "--compile", help="Benchmark torch.compile too, which takes minutes."),
    save: bool = typer.Option(
        False, "--save", help="Store the best one beside the model; predict and eval then use it."
    ),
    as_json: bool = typer.Option(
        False, "--json", help="Print a JSON list with an object for each runtime and precision."
    ),
) -> None:
    """Benchmark the runtimes and precisions of this machine, and print their speed and accuracy."""
    from vertebra.errors import UnknownName
    from vertebra.export.benchmark import benchmark_runtimes, candidate_configs, select_fastest
    from vertebra.export.calibration_images import calibration_images
    from vertebra.inference.devices import pick_device
    from vertebra.weights.model_file import load

    if by not in ("latency", "throughput"):
        raise UnknownName("measure of the best runtime", by, ("latency", "throughput"))
    model = load(source)
    trials = list(
        benchmark_runtimes(
            source,
            labeled=_labeled(source, model, data, batch_size),
            images=calibration_images(source, model, images or data),
            runtime_configs=candidate_configs(pick_device(device).type, compile=compile, threads=threads),
            max_labeled=max_labeled,
            batch_size=batch_size,
            seconds=seconds,
            device=device,
            progress=lambda line: print(line, file=sys.stderr),
        )
    )
    chosen = select_fastest(trials, by=by, metric_loss=metric_loss)
    if as_json:
        print_json([{**asdict(trial), "best": trial is chosen} for trial in trials])
    else:
        _print(trials, chosen)
    if save:
        _save(source, chosen)


def _labeled(source: str, model: VisionModel, data: str | None, batch_size: int) -> Iterable[Batch] | None:
    """Labeled batches for the metrics; None if the run's data are not available."""
    from vertebra.errors import ConfigError
    from vertebra.model_info import model_info
    from vertebra.training.labeled_data import labeled

    try:
        return labeled(source, model_info(model), model.config, split="val", data=data, batch_size=batch_size)
    except ConfigError as error:
        if data is not None:
            raise
        print(f"no metrics: {error}", file=sys.stderr)
        return None


def _save(source: str, chosen: RuntimeBenchmark) -> None:
    """Stores the choice beside the model."""
    from vertebra.runtimes.runtime_config import save_choice
    from vertebra.weights.model_file import model_path

    figures = {name: value for name, value in asdict(chosen).items() if name != "runtime_config"}
    path = save_choice(model_path(source), chosen.runtime_config, figures)
    print(f"{path}: predict and eval now use {chosen.runtime_config.name} by default", file=sys.stderr)


def _print(trials: list[RuntimeBenchmark], chosen: RuntimeBenchmark) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    names = list(trials[0].metrics)
    table = Table("runtime", "latency", "times", "images/s", "memory", "agreement", *names, box=None)
    for trial in trials:
        mark = "  <- best" if trial is chosen else ""
        if trial.failure:
            table.add_row(trial.runtime_config.name, f"failed: {trial.failure}")
            continue
        table.add_row(
            trial.runtime_config.name + mark,
            f"{trial.latency * 1e3:.1f} ms",
            f"{trials[0].latency / trial.latency:.2f}",
            f"{trial.throughput:.1f}",
            f"{trial.memory / 1e9:.2f} GB",
            f"{trial.agreement:.3f}",
            *(f"{trial.metrics[name]:.4f}" for name in names),
        )
    Console(width=max(100, Console().width)).print(table)
