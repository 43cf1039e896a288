"""The progress display of a training run, on standard error.

On a terminal it is a live bar with rate, time left and memory, and a line for each finished epoch. Elsewhere, such as in a log
file, it is the line for each finished epoch, and a line a minute within long epochs and evaluations.
"""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vertebra.tasks import get_task
from vertebra.training.durations import duration_text
from vertebra.training.epoch_cost import EpochCost
from vertebra.training.pace import Pace, evaluations_left
from vertebra.training.step import TrainingModule

LINE_SECONDS = 60.0


class ProgressDisplay(pl.Callback):
    """Shows the progress of the run. It must come before the callback that takes the scores of an epoch.

    Args:
        console: where it is shown; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress: Progress | None = None
        self.pace = Pace()
        self._epoch_began = self._printed = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        total = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        self.bar = self.progress.add_task("training", total=total, completed=trainer.global_step, numbers="")
        self.progress.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._epoch_began = self._printed = time.monotonic()
        self.pace.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.progress is None or not isinstance(module, TrainingModule):
            return
        self.pace.end_step()
        module.cost.measure_memory(module.device, now=False)
        steps, done = int(trainer.num_training_batches), batch_idx + 1
        if self.console.is_terminal:
            numbers = [self._time_left(trainer, module, done), *_cost(module.cost, trainer.world_size), _losses(module)]
            self.progress.update(
                self.bar,
                total=steps * (trainer.max_epochs or 1),
                completed=trainer.current_epoch * steps + done,
                description=_epoch(trainer),
                numbers="  ".join(filter(None, numbers)),
            )
        elif done < steps and self._is_due():
            self._print(
                f"{_epoch(trainer)}, step {done}/{steps}",
                _losses(module),
                self._time_left(trainer, module, done),
                *_cost(module.cost, trainer.world_size),
            )

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.pace.start()

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self.progress is None:
            return
        total = int(sum(trainer.num_val_batches)) if isinstance(trainer.num_val_batches, list) else "?"
        text = f"{_epoch(trainer)}, evaluation {batch_idx + 1}/{total}"
        if self.console.is_terminal:
            self.progress.update(self.bar, description=text)
        elif self._is_due():
            self._print(text)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.pace.end_evaluation()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.progress is None or not isinstance(module, TrainingModule):
            return
        seconds = duration_text(time.monotonic() - self._epoch_began)
        left = self._time_left(trainer, module, int(trainer.num_training_batches), evaluated=True)
        self._print(
            _epoch(trainer),
            headline(module) or _losses(module),
            ", ".join(filter(None, [seconds, left])),
            *_cost(module.cost, trainer.world_size),
        )

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def _time_left(self, trainer: pl.Trainer, module: TrainingModule, done: int, *, evaluated: bool = False) -> str:
        """The time that is left in words, empty at the end and before it is known.

        Args:
            done: steps of the epoch that are done.
            evaluated: whether its evaluation is done, too.
        """
        epoch, epochs = trainer.current_epoch, trainer.max_epochs or 1
        steps = (epochs - epoch) * int(trainer.num_training_batches) - done
        evaluations = evaluations_left(epoch + int(evaluated), epochs, module.recipe.evaluate_every)
        left = self.pace.left(steps, evaluations)
        return f"{duration_text(left)} left" if left and (steps or evaluations) else ""

    def _is_due(self) -> bool:
        """Whether the last line was long ago."""
        return time.monotonic() - self._printed >= LINE_SECONDS

    def _print(self, *parts: str) -> None:
        self.console.print("  ".join(filter(None, parts)), highlight=False, soft_wrap=True, markup=False)
        self._printed = time.monotonic()


def _epoch(trainer: pl.Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


def _cost(cost: EpochCost, processes: int) -> list[str]:
    """Rate and memory in words."""
    rate = [] if cost.rate is None else [f"{cost.rate * processes:.3g} images/s"]
    memory = [f"{'GPU' if name == 'gpu' else 'RAM'} {value:.1f} GB" for name, value in cost.memory_gb.items()]
    return [*rate, *memory]


def _losses(module: TrainingModule) -> str:
    """The loss of each branch in the last step."""
    by_branch: dict[str, float] = {}
    for name, value in module.losses.items():
        branch = name.partition("/")[0]
        by_branch[branch] = by_branch.get(branch, 0.0) + value
    return "loss " + " ".join(f"{name} {value:.3f}" for name, value in by_branch.items()) if by_branch else ""


def headline(module: TrainingModule) -> str:
    """The branches' main metrics and losses in one line; empty without an evaluation."""
    scores = module.scores or {}
    names = [
        f"{branch}/{metric}"
        for branch in module.model.branches
        for metric in (*get_task(module.model.branch(branch).task).headline, "loss")
    ]
    return "  ".join(f"{name} {scores[name]:.3f}" for name in names if name in scores)
