"""``vertebra benchmark``: which way to run a model is best on this machine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from vertebra.cli.printing import print_json

if TYPE_CHECKING:
    from vertebra.export.benchmark import Trial


def benchmark(
    source: str = typer.Argument(..., help="A run folder or a model file."),
    images: str | None = typer.Option(
        None, help="Images or a data set to measure with; by default the run's own training images."
    ),
    data: str | None = typer.Option(
        None, help="A labeled data set for the metrics; by default the run's validation data, if they are there."
    ),
    most: int = typer.Option(200, "--labeled", min=1, help="How many labeled images the metrics are measured on."),
    by: str = typer.Option("latency", help="What makes a way the best: latency or throughput."),
    metric_loss: float = typer.Option(0.01, min=0.0, help="How far a metric of the chosen way may fall."),
    batch_size: int = typer.Option(8, min=1, help="Images at a time, for the throughput."),
    seconds: float = typer.Option(2.0, min=0.0, help="How long each measurement is repeated."),
    device: str | None = typer.Option(None, help="cpu, cuda, mps …; by default the best there is."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; by default all CPUs that may be used."),
    compile: bool = typer.Option(False, "--compile", help="Try torch.compile too, which takes minutes."),
    save: bool = typer.Option(False, "--save", help="Keep the choice beside the model; predict and eval then take it."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list, an object a way."),
) -> None:
    """Try the runtimes and precisions of this machine, and print how fast and how right they are."""
    from vertebra.errors import ConfigError, UnknownName
    from vertebra.export.benchmark import best, candidates, tune
    from vertebra.export.calibration_images import calibration_images
    from vertebra.inference.devices import pick_device
    from vertebra.inference.predictor import model_info
    from vertebra.runtimes.runtime_config import save_choice
    from vertebra.training.labeled_data import labeled
    from vertebra.weights.model_file import load, model_path

    if by not in ("latency", "throughput"):
        raise UnknownName("measure of the best way", by, ("latency", "throughput"))
    model = load(source)
    try:
        batches: Any = labeled(source, model_info(model), model.config, split="val", data=data, batch_size=batch_size)
    except ConfigError as error:
        if data is not None:
            raise
        print(f"no metrics: {error}", file=sys.stderr)
        batches = None
    found = calibration_images(source, model, images or data)
    ways = candidates(pick_device(device).type, compile=compile, threads=threads)
    trials = []
    for trial in tune(
        source,
        ways=ways,
        images=found,
        labeled=batches,
        most_labeled=most,
        batch_size=batch_size,
        seconds=seconds,
        device=device,
        tell=lambda line: print(line, file=sys.stderr),
    ):
        trials.append(trial)
    chosen = best(trials, by=by, metric_loss=metric_loss)
    if as_json:
        print_json([{**asdict(trial), "best": trial is chosen} for trial in trials])
    else:
        _print(trials, chosen)
    if save:
        path = save_choice(model_path(source), chosen.way, {k: v for k, v in asdict(chosen).items() if k != "way"})
        print(f"{path}: predict and eval take {chosen.way.name} from now on", file=sys.stderr)


def _print(trials: list[Trial], chosen: Trial) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    names = list(trials[0].metrics)
    table = Table("way", "latency", "times", "images/s", "memory", "agreement", *names, box=None)
    for trial in trials:
        mark = "  <- best" if trial is chosen else ""
        if trial.failure:
            table.add_row(trial.way.name, f"does not work: {trial.failure}")
            continue
        table.add_row(
            trial.way.name + mark,
            f"{trial.latency * 1e3:.1f} ms",
            f"{trials[0].latency / trial.latency:.2f}",
            f"{trial.throughput:.1f}",
            f"{trial.memory / 1e9:.2f} GB",
            f"{trial.agreement:.3f}",
            *(f"{trial.metrics[name]:.4f}" for name in names),
        )
    Console(width=max(100, Console().width)).print(table)
