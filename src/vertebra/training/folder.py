"""The run folder: best weights, state to resume from, and metrics, written atomically."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from vertebra.errors import RunError, VertebraError
from vertebra.evaluation.process_sums import sum_over_processes
from vertebra.files import file_in_the_way
from vertebra.messages import emit, is_first_process
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.training.metrics_table import write_metrics
from vertebra.training.selection import BestWeights, main_score, nonfinite_tensor
from vertebra.training.state_files import (
    BEST,
    LAST,
    best_problem,
    new_best,
    remove_leftovers,
    replace_state,
    take_new_best,
)
from vertebra.training.step import TrainingModule
from vertebra.training.stopping import StopRequest
from vertebra.weights.model_file import write

CONFIG = "config.yaml"


def check_new_folder(path: Path) -> None:
    """Checks that a run folder is new or empty, and that its parent is a folder.

    Raises:
        RunError: it is not empty, or it cannot be made.
    """
    blocking = file_in_the_way(path.parent)
    if blocking is not None:
        raise RunError(f"{blocking} is a file, and a folder is needed there; choose another folder: out=... (--out)")
    if _taken(path):
        if path.is_dir() and not any((path / name).exists() for name in (LAST, BEST)) and (path / CONFIG).exists():
            raise RunError(
                f"{path} holds a run that has saved nothing yet; if it is no longer running, delete the folder, or choose "
                "another one: out=... (--out)"
            )
        raise RunError(
            f"{path} exists, and a run is never overwritten; choose another folder: out=... (--out), or continue it: "
            "vertebra.resume(...) (--resume)"
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
    """Writes the best weights, the state to resume from and the table of metrics; on Ctrl-C and SIGTERM, saves and stops.

    Args:
        path: the run folder.
        monitor: the metric that selects the best weights; None for the mean of the branches' main metrics.
        patience: number of evaluations without improvement after which training stops; None for never.
        save_every_minutes: how often the state is saved within an epoch.

    Attributes:
        kept: the weights in the model file.
        stop: whether a signal requested a stop.
        log_row: called with each row of ``metrics.csv``, in the first process; None for nothing.
        STATE: keys of the saved state.
    """

    STATE = ("kept", "rows", "seconds", "loss_sums")

    def __init__(self, path: Path, monitor: str | None, patience: int | None, save_every_minutes: float) -> None:
        self.path = path
        self.monitor = monitor
        self.patience = patience
        self.save_every_seconds = 60 * save_every_minutes
        self.kept = BestWeights()
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self.stop = StopRequest()
        self.log_row: Callable[[Mapping[str, float]], None] | None = None
        self.resumed = False
        self._loss_sums: dict[str, tuple[float, int]] = {}
        self._started = self._saved = time.monotonic()
        self._last_note = ""

    def state_dict(self) -> dict[str, Any]:
        return {
            "kept": self.kept.state_dict(),
            "rows": self.rows,
            "seconds": self.seconds + time.monotonic() - self._started,
            "loss_sums": {name: list(value) for name, value in self._loss_sums.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.resumed = True
        self.kept = BestWeights.from_state(state_dict["kept"])
        self.rows = state_dict["rows"]
        self.seconds = state_dict["seconds"]
        self._loss_sums = {name: (total, count) for name, (total, count) in state_dict["loss_sums"].items()}
        if is_first_process():
            self._check_best()

    def _check_best(self) -> None:
        """Takes the best weights that a killed process left, and starts their selection anew if they are not those of the state."""
        take_new_best(self.path, self.kept.epoch)
        problem = None if self.kept.epoch is None else best_problem(self.path / BEST, self.kept.epoch)
        if problem is not None:
            self.kept = BestWeights()
            emit(
                f"{self.path / BEST} {problem}; the best weights are selected from the remaining epochs, if there are any"
            )

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started = self._saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.stop.watch()  # here, because Lightning sets its own handlers after on_fit_start
        self.kept = BestWeights.from_state(trainer.strategy.broadcast(self.kept.state_dict()))
        trainer.should_stop = self.out_of_patience  # also if the run had ended that way before it was resumed
        if trainer.is_global_zero:
            remove_leftovers(self.path, trainer.ckpt_path)
        assert isinstance(module, TrainingModule)
        if not self.resumed and not module.is_sharded:  # torch fills a sharded optimizer's state by a step to save it
            self.save(trainer)  # so that a run can be resumed from its first step on

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.stop.release()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.stop.release()
        if not trainer.is_global_zero:
            return
        if isinstance(exception, VertebraError) and trainer.global_step:
            self._rescue(trainer, module)
        if isinstance(exception, Exception) and not trainer.global_step and not self.resumed:
            (self.path / LAST).unlink(missing_ok=True)  # a start that failed leaves nothing behind

    def _rescue(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Saves the weights from before an error, if no evaluation has saved any yet."""
        assert isinstance(module, TrainingModule)
        path = self.path / BEST
        if module.is_sharded:
            return  # other processes have parts of the weights
        if not path.exists() and nonfinite_tensor(module.best_model) is None:
            self._write_best(module.best_model, path)
            emit(f"{path} holds the weights after {trainer.global_step} steps, which were not evaluated")

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(module, TrainingModule)
        module.requests = (self.stop.number is not None, time.monotonic() - self._saved > self.save_every_seconds)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, TrainingModule)
        for name, value in module.losses.items():
            total, count = self._loss_sums.get(name, (0.0, 0))
            if math.isfinite(value):
                self._loss_sums[name] = (total + value, count + 1)
        stop, due = module.agreed
        if trainer.world_size == 1:
            stop = self.stop.number is not None  # several processes agree at the next step; a single one stops at once
        if trainer.is_last_batch:
            return  # the state is saved, and the run stopped, after the epoch's evaluation
        if stop or due:
            self.save(trainer)
        if stop:
            raise Interrupted

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, TrainingModule)
        self.rows.append(self._row(trainer, module))
        module.cost.reset()
        self._loss_sums = {}
        if module.scores is not None:
            self._update_best(trainer, module, module.scores)
            module.scores = None
        if trainer.is_global_zero:
            write_metrics(self.path, self.rows)
            if self.log_row is not None:
                self.log_row(self.rows[-1])
        self.save(trainer)
        if trainer.is_global_zero:
            take_new_best(self.path, self.kept.epoch)
        requested = torch.tensor(float(self.stop.number is not None), device=module.device)
        if bool(sum_over_processes(requested) > 0) and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
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
            **(module.scores or {}),
            **module.cost.columns(trainer.world_size),
        }

    def _update_best(self, trainer: pl.Trainer, module: TrainingModule, scores: dict[str, float]) -> None:
        epoch = trainer.current_epoch + 1
        score = main_score(model_info(module.model), scores, self.monitor)
        model = module.whole_model()
        note = self.kept.update(epoch, score, scores, model)
        if self.kept.epoch == epoch and trainer.is_global_zero:
            self._write_best(model, new_best(self.path, epoch))  # renamed after the state that refers to them is saved
        nonfinite = [name for name, value in scores.items() if not math.isfinite(value)]
        if nonfinite:
            count = "1 metric is" if len(nonfinite) == 1 else f"{len(nonfinite)} metrics are"
            note = "; ".join(filter(None, [f"{count} not finite: {', '.join(nonfinite[:3])}", note]))
        if note is not None and note != self._last_note:
            emit(f"epoch {epoch}: {note}")
        self._last_note = note or ""
        if self.out_of_patience:
            trainer.should_stop = True

    def _write_best(self, model: VisionModel, path: Path) -> None:
        model.provenance = {**model.provenance, "epoch": self.kept.epoch}
        write(model, path)

    @property
    def out_of_patience(self) -> bool:
        """Whether training ends because the last ``patience`` evaluations brought no improvement."""
        return self.patience is not None and self.kept.without_better >= self.patience

    def keep_newest(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Saves the newest weights, if the best ones are lost and no epoch is left."""
        model = module.whole_model()
        if nonfinite_tensor(model) is not None:
            return
        self.kept = BestWeights(epoch=int(self.rows[-1]["epoch"]))
        if trainer.is_global_zero:
            self._write_best(model, self.path / BEST)
        emit(f"{self.path / BEST} now holds the newest weights; those of the best epoch are lost")

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the state to resume from; see `replace_state`."""
        replace_state(self.path, trainer.save_checkpoint, trainer.is_global_zero)
        self._saved = time.monotonic()


class Interrupted(Exception):
    """Raised through the engine after the state was saved on a signal."""
