"""One trial of tuning: a training run that reports its score after each evaluation, and stops when the study prunes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl

from vertebra.errors import RunError, RunStopped
from vertebra.model_info import model_info
from vertebra.training.folder import Interrupted, RunFolder
from vertebra.training.run import train_raw
from vertebra.training.selection import Score, main_score
from vertebra.training.step import TrainingModule

Report = Callable[[int, float], bool]
"""Takes the number of epochs and a score, larger is better; returns whether the trial shall stop."""


class TrialJob(NamedTuple):
    """What a trial has to do.

    Attributes:
        number: of the trial, from 0.
        raw: its config as plain values, with absolute paths.
        folder: the run folder.
    """

    number: int
    raw: dict[str, Any]
    folder: Path


class TrialOutcome(NamedTuple):
    """How a trial ended.

    Attributes:
        score: the best of its evaluations.
        epoch: of that evaluation, from 1.
        pruned: whether it was stopped early.
    """

    score: Score
    epoch: int
    pruned: bool


def higher_is_better(score: Score) -> float:
    """A score's value, negated where smaller is better."""
    return -score.value if score.lower_is_better else score.value


class TrialReport(pl.Callback):
    """Reports the score of each evaluation. It comes after the callback that saves the run.

    Args:
        report: takes the scores.

    Attributes:
        best: the best score so far, with its epoch; None before the first.
        pruned: whether the report stopped the run.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.best: tuple[Score, int] | None = None
        self.pruned = False

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Reports the score of an evaluation of this epoch.

        Raises:
            Interrupted: the trial shall stop.
        """
        assert isinstance(module, TrainingModule)
        folder = next(callback for callback in trainer.callbacks if isinstance(callback, RunFolder))
        score = main_score(model_info(module.model), folder.rows[-1], folder.monitor)
        if score is None or not math.isfinite(score.value):
            return
        epoch = trainer.current_epoch + 1
        if self.best is None or higher_is_better(score) > higher_is_better(self.best[0]):
            self.best = (score, epoch)
        stop = self.report(epoch, higher_is_better(score))
        if stop and epoch < (trainer.max_epochs or 0):
            self.pruned = True
            raise Interrupted


def run_trial(job: TrialJob, report: Report) -> TrialOutcome:
    """Trains the model of a trial in this process.

    Raises:
        VertebraError: the run failed or was stopped by a signal, or no evaluation had a score.
    """
    callback = TrialReport(report)
    try:
        train_raw(job.raw, out=job.folder, where=f"trial {job.number}", callbacks=[callback])
    except RunStopped:
        if not callback.pruned:
            raise
    if callback.best is None:
        raise RunError(f"trial {job.number}: no evaluation had a score; give data.val, or another train.monitor")
    score, epoch = callback.best
    return TrialOutcome(score, epoch, callback.pruned)


def single_device(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The options of training with one device, for several trials share the devices."""
    train = dict(raw.get("train") or {})
    return {**raw, "train": {**train, "devices": 1} if train.get("devices", "auto") == "auto" else train}
