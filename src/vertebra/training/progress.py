"""The progress display of a training run, on standard error: a bar within the epoch, and a line for each finished epoch."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vertebra.tasks import get_task
from vertebra.training.step import TrainingModule


class ProgressDisplay(pl.Callback):
    """Shows the progress of the run: a live bar on a terminal, one line per epoch in a file."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        total = trainer.num_training_batches * (trainer.max_epochs or 1)
        self.bar = self.progress.add_task("training", total=total, completed=trainer.global_step, loss="")
        self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.progress is None or not isinstance(module, TrainingModule):
            return
        by_branch: dict[str, float] = {}
        for name, value in module.losses.items():
            branch = name.partition("/")[0]
            by_branch[branch] = by_branch.get(branch, 0.0) + value
        text = "loss " + " ".join(f"{name} {value:.3f}" for name, value in by_branch.items())
        self.progress.update(
            self.bar,
            completed=trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1,
            description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            loss=text,
        )

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.progress is None or not isinstance(module, TrainingModule) or trainer.sanity_checking:
            return
        self.console.print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {headline(module)}",
            highlight=False,
            soft_wrap=True,
        )

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def headline(module: TrainingModule) -> str:
    """The branches' main metrics and losses in one line."""
    parts, scores = [], module.scores or {}
    for name in module.model.branches:
        metric = get_task(module.model.branch(name).task).monitor
        for key in (f"{name}/{metric}", f"{name}/loss"):
            if key in scores:
                parts.append(f"{key} {scores[key]:.3f}")
    return "  ".join(parts)
