"""The run folder: what a run leaves behind, written so that a kill at any moment loses no more than the current step."""

from __future__ import annotations

import csv
import signal
import threading
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from vertebra.errors import RunError
from vertebra.files import os_errors_told, replacing
from vertebra.training.evaluation import main_score
from vertebra.training.step import TrainingModule
from vertebra.weights.model_file import write

LAST = "last.ckpt"
BEST = "model.safetensors"
CONFIG = "config.yaml"
METRICS = "metrics.csv"


def refuse_taken(path: Path) -> None:
    """A run folder must be new or empty.

    Raises:
        RunError: there is something in it already.
    """
    if _taken(path):
        raise RunError(
            f"{path} exists, and a run is never overwritten; choose another --out, or go on with --resume {path}"
        )


def _taken(path: Path) -> bool:
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def free_folder(path: Path) -> Path:
    """The path itself if it is free, else the first of ``path-2``, ``path-3`` … that is."""
    candidate, number = path, 1
    while _taken(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


class RunFolder(pl.Callback):
    """Keeps the best weights, the state to resume from and the table of metrics; makes Ctrl-C save and stop.

    Args:
        path: the run folder.
        best: the metric that picks the best weights, or None for the branches' main ones.
        patience: evaluations without a better one after which training stops; None for never.
        save_every_minutes: how often the state is saved within an epoch.
    """

    def __init__(self, path: Path, best: str | None, patience: int | None, save_every_minutes: float) -> None:
        self.path = path
        self.best = best
        self.patience = patience
        self.save_every_seconds = 60 * save_every_minutes
        self.best_score: float | None = None
        self.best_name = ""
        self.without_better = 0
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.stopped_by_user = False
        self._loss_sums: dict[str, tuple[float, int]] = {}
        self._started = self._saved = time.monotonic()
        self._old_handler: Any = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_score": self.best_score,
            "best_name": self.best_name,
            "without_better": self.without_better,
            "rows": self.rows,
            "seconds": self.seconds + time.monotonic() - self._started,
            "loss_sums": {name: list(value) for name, value in self._loss_sums.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]
        self.best_name = state_dict["best_name"]
        self.without_better = state_dict["without_better"]
        self.rows = state_dict["rows"]
        self.seconds = state_dict["seconds"]
        self._loss_sums = {name: (total, count) for name, (total, count) in state_dict["loss_sums"].items()}

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started = self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGINT, self._on_interrupt)

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._give_handler_back()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._give_handler_back()

    def _give_handler_back(self) -> None:
        if self._old_handler is not None:
            signal.signal(signal.SIGINT, self._old_handler)
            self._old_handler = None

    def _on_interrupt(self, number: int, frame: Any) -> None:
        """The first Ctrl-C lets the step end, saves and stops; the second one stops at once."""
        if self.stopped_by_user:
            raise KeyboardInterrupt
        self.stopped_by_user = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, TrainingModule)
        for name, value in module.losses.items():
            total, count = self._loss_sums.get(name, (0.0, 0))
            self._loss_sums[name] = (total + value, count + 1)
        due = time.monotonic() - self._saved > self.save_every_seconds
        if trainer.is_last_batch:
            return  # the epoch's evaluation belongs to it: the state is saved, and the run stopped, after that
        if self.stopped_by_user or due:
            self.save(trainer)
        if self.stopped_by_user:
            raise Interrupted

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, TrainingModule)
        self.rows.append(self._row(trainer, module))
        self._loss_sums = {}
        if module.scores:
            self._judge(trainer, module)
            module.scores = {}
        if trainer.is_global_zero:
            write_table(self.path / METRICS, self.rows)
        self.save(trainer)
        if self.stopped_by_user and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            raise Interrupted

    def _row(self, trainer: pl.Trainer, module: TrainingModule) -> dict[str, float]:
        losses = {f"train/{name}": total / count for name, (total, count) in self._loss_sums.items()}
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        return {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": max(rates),
            "seconds": round(self.seconds + time.monotonic() - self._started, 1),
            **losses,
            **module.scores,
        }

    def _judge(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        found = main_score(module.model, module.scores, self.best)
        if found is None:
            raise RunError(f"the metric '{self.best}' was not measured; there is: {', '.join(sorted(module.scores))}")
        self.best_name = found[0]
        better = self.best_score is None or found[1] > self.best_score
        if better:
            self.best_score = found[1]
            if trainer.is_global_zero:
                write(module.best_model, self.path / BEST)
        self.without_better = 0 if better else self.without_better + 1
        if self.patience is not None and self.without_better >= self.patience:
            trainer.should_stop = True

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the state to resume from, whole or not at all."""
        partial = self.path / (LAST + ".partial")
        with os_errors_told(self.path / LAST):
            try:
                trainer.save_checkpoint(partial)
                if trainer.is_global_zero:
                    partial.replace(self.path / LAST)
            except OSError:
                partial.unlink(missing_ok=True)  # the older file stays, and the disk has room for a message
                raise
        self._saved = time.monotonic()


class Interrupted(Exception):
    """Raised through the engine after the state was saved on Ctrl-C."""


def write_table(path: Path, rows: list[dict[str, float]]) -> None:
    """Writes rows as CSV; a column stands wherever any row has it."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)
