"""``vertebra tune``: searches for the best options and parts of a config by trial runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vertebra.cli.printing import print_json
from vertebra.cli.train import config_and_overrides

if TYPE_CHECKING:
    from vertebra.tuning.options import Tuned


def tune(
    arguments: list[str] | None = typer.Argument(
        None, metavar="[CONFIG] [KEY=VALUE]...", help="A YAML config, and overrides such as train.epochs=10."
    ),
    trials: int = typer.Option(20, help="Number of trials in all, the first with the config's own values."),
    space: Path | None = typer.Option(
        None,
        help="A YAML file with the search space; by default the config's section tune, else learning rates, weight decay, "
        "augmentation and freezing.",
    ),
    budget: str | None = typer.Option(
        None,
        help="Time such as 90m, 8h or 2d, after which no trial begins and running ones stop at their next evaluation.",
    ),
    jobs: int | None = typer.Option(
        None, help="Trials at a time, each with its part of the CPUs and one GPU; by default 1, on Ray as many as fit."
    ),
    pruner: str = typer.Option("median", help="Which trials are stopped early: median, hyperband or none."),
    seed: int = typer.Option(0, help="Seed of the search."),
    ray: str | None = typer.Option(
        None, metavar="ADDRESS", help="Run the trials on a Ray cluster: auto, host:port, ray://host:port or local."
    ),
    out: Path | None = typer.Option(
        None, help="The tune folder to create; by default runs/tune, with a number if that exists."
    ),
    resume: Path | None = typer.Option(None, help="A tune folder to continue with; --trials is the new number in all."),
    as_json: bool = typer.Option(False, "--json", help="Print the trials as JSON."),
) -> None:
    """Search for the best options and parts of a config by trial runs, with Optuna."""
    from vertebra.config import override, read_raw
    from vertebra.errors import ConfigError
    from vertebra.tuning.options import TuneOptions
    from vertebra.tuning.tune import resume_tuning, tune

    options = TuneOptions(trials, _seconds(budget), jobs, pruner, seed, ray)  # type: ignore[arg-type]  # checked there
    if resume is not None:
        if arguments or space is not None or out is not None:
            raise ConfigError("--resume uses the config and the search space in the tune folder; leave the others out")
        _print(resume_tuning(resume, options=options), as_json)
        return
    config, overrides = config_and_overrides(arguments or [])
    if config is None:
        raise ConfigError("give a config, or --resume with a tune folder")
    raw = override(read_raw(Path(config)), overrides)
    _print(tune(raw, space=None if space is None else read_raw(space), out=out, options=options), as_json)


def _seconds(budget: str | None) -> float | None:
    """Seconds of a duration such as 90m or 1h30m.

    Raises:
        ConfigError: it has another form.
    """
    from vertebra.errors import ConfigError
    from vertebra.recipe.budget import parse_duration

    try:
        return None if budget is None else parse_duration(budget)
    except ValueError as error:
        raise ConfigError(f"--budget: {error}") from None


def _print(tuned: Tuned, as_json: bool) -> None:
    """Prints all trials, and the best one."""
    from dataclasses import asdict

    from vertebra.tuning.study import BEST_CONFIG

    best = tuned.best_trial
    if as_json:
        content: dict[str, Any] = {
            "folder": str(tuned.folder),
            "best": None if best is None else best.number,
            "trials": [asdict(trial) for trial in tuned.trials],
        }
        print_json(content, indent=2)
        return
    for trial in tuned.trials:
        typer.echo(trial.text())
    if best is None:
        typer.echo(
            f"no trial was complete; continue with: vertebra tune --resume {tuned.folder} --trials {len(tuned.trials) + 1}"
        )
    else:
        typer.echo(f"best: {best.text()}")
        typer.echo(f"its config: {tuned.folder / BEST_CONFIG}; its model: {best.folder}")
