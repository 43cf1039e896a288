"""Runs of Vertebra with its defaults, measured on the way."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import lightning.pytorch as pl
import torch

import vertebra
from benchmarks.decoders import BACKBONE
from benchmarks.training_clock import Clock, Curve, Point
from vertebra.config import Config, override, read_raw
from vertebra.data.loaders import Loader
from vertebra.data.open_datasets import open_split
from vertebra.evaluation.measure import evaluate_loader
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo, model_info
from vertebra.tasks import get_task
from vertebra.training import execution
from vertebra.training.loaders import evaluation_loader
from vertebra.training.trainer import make_trainer

WARM, TRIAL = 2, 12  # steps of the trial that do not count, and all of them


class Trained(NamedTuple):
    """A training of ours or of a peer.

    Attributes:
        seconds: that it took, without evaluations.
        metrics: of the weights that it ends with, on the test split.
        points: metrics on the way.
    """

    seconds: float
    metrics: dict[str, float]
    points: list[Point]


class TrialEnded(Exception):
    """Ends a trial."""


class Trial(pl.Callback):
    """Ends a run after some steps, and has measured what a step costs."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ends: list[float] = []
        self.epochs = self.steps_per_epoch = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *unused: Any) -> None:
        self.epochs, self.steps_per_epoch = trainer.max_epochs or 1, int(trainer.num_training_batches)
        self.ends.append(self.clock.seconds)
        if len(self.ends) == TRIAL:
            raise TrialEnded

    def on_validation_start(self, *unused: Any) -> None:
        self.clock.stop()

    def on_validation_end(self, *unused: Any) -> None:
        self.clock.resume()

    def fitting_epochs(self, seconds: float) -> int:
        """Epochs that take so many seconds, at most as many as the run would have had."""
        skipped = min(WARM, len(self.ends) - 1)
        step = (self.ends[-1] - self.ends[skipped - 1]) / max(1, len(self.ends) - skipped)
        return max(1, min(self.epochs, int((seconds - self.ends[0]) / (step * self.steps_per_epoch))))


class Watch(pl.Callback):
    """Measures a run of ours at some moments, and its time."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        self.seconds, self.steps = 0.0, 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *unused: Any) -> None:
        steps = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        self.seconds, self.steps = self.curve.clock.seconds, trainer.global_step
        self.curve.reach(self.steps / steps, self.steps, module.best_model)

    def on_validation_start(self, *unused: Any) -> None:
        self.curve.clock.stop()

    def on_validation_end(self, *unused: Any) -> None:
        self.curve.clock.resume()


@contextmanager
def watching(callback: pl.Callback) -> Iterator[None]:
    """Runs of ours have a further callback meanwhile."""

    def trainer(recipe: Any, callbacks: list[pl.Callback], model: VisionModel) -> pl.Trainer:
        return make_trainer(recipe, [*callbacks, callback], model)

    with patch.object(execution, "make_trainer", trainer):
        yield


def raw_config(given: argparse.Namespace, task: str, data: Path, seed: int, **more: Any) -> dict[str, Any]:
    """The config of a run of ours: the task, the data and the backbone, and nothing else that was not asked for."""
    backbone: dict[str, Any] = {"name": BACKBONE}
    if given.weights is not None:
        backbone["pretrained"] = str(given.weights)
    recipe = {"seed": seed, "workers": given.workers, "accelerator": "cpu", **more}
    if given.size is not None:
        recipe["image_size"] = list(given.size)
    model = {"backbone": backbone, **get_task(task).default_parts, "task": task}
    raw = {"data": {"path": str(data)}, "model": model, "train": recipe}
    return override(raw, given.overrides)


def fitted_epochs(given: argparse.Namespace, task: str, data: Path, folder: Path) -> int:
    """The epochs of a run that takes the minutes that are given, or as long as it would by itself."""
    trial = Trial()
    try:
        with watching(trial):
            vertebra.train(raw_config(given, task, data, 0), out=folder)
    except TrialEnded:
        pass
    return trial.fitting_epochs(60 * given.minutes)


def train_ours(raw: dict[str, Any], task: str, folder: Path) -> tuple[Trained, Config, Loader, ModelInfo]:
    """A run of ours; with its config, the test split, and what its model predicts."""
    loaders: list[Loader] = []

    def measure(model: VisionModel) -> dict[str, float]:
        if not loaders:
            loaders.append(test_loader(raw, model_info(model)))
        return headline(task, evaluate_loader(model, loaders[0], torch.device("cpu"), torch.get_num_threads()))

    watch = Watch(Curve(measure))
    with watching(watch):
        run = vertebra.train(raw, out=folder)
    metrics = measure(run.model)
    config = Config.from_raw(read_raw(folder / "config.yaml"), str(folder))
    points = [*watch.curve.points, Point(watch.seconds, watch.steps, metrics)]
    return Trained(watch.seconds, metrics, points), config, loaders[0], model_info(run.model)


def test_loader(raw: Mapping[str, Any], info: ModelInfo) -> Loader:
    """The labeled images of the test split, with the classes of a model."""
    config = Config.from_raw(raw, "config")
    for name, branch in config.model.branches.items():
        branch.classes = list(info.branches[name][1].classes)
    return evaluation_loader(info, open_split(config, "test").sources, 8, 0)


def headline(task: str, scores: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a task that are shown, the one that selects weights first."""
    return {name: scores[f"{task}/{name}"] for name in get_task(task).headline}
