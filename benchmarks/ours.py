"""Our own training steps, run by Vertebra's own training module and trainer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor

from benchmarks.measure import waiting
from vertebra.data.batches import Batch, BranchTargets
from vertebra.model import VisionModel
from vertebra.tasks.classify.targets import ClassifyTargets
from vertebra.tasks.detect.targets import DetectTargets
from vertebra.tasks.segment.targets import SegmentTargets
from vertebra.training.resolved_config import ResolvedTrain
from vertebra.training.step import TrainingModule
from vertebra.training.trainer import make_trainer


class Trained(NamedTuple):
    """What some steps gave.

    Attributes:
        seconds: of each step, from the batch to the moved weights.
        losses: of each step, weighed and summed over its terms.
        optimizer: what moved the weights, with its options.
    """

    seconds: list[float]
    losses: list[float]
    optimizer: str


ACCELERATORS = {"cpu": "cpu", "cuda": "gpu"}
ONE_EPOCH = {
    "epochs": 1,
    "batch_size": 1,
    "accumulate": 1,
    "evaluate_every": 1,
    "backbone_lr": 0.3,
    "freeze_backbone": 0.0,
}


def recipe(device: str = "cpu", **options: Any) -> ResolvedTrain:
    """AdamW as a plain loop has it, in float32; without the moving average and the cut of gradients, which plain loops have not."""
    plain = {"precision": "32", "ema": None, "clip_norm": None}
    return ResolvedTrain.model_validate({**default_recipe(device).model_dump(), **plain, **options})


def default_recipe(device: str = "cpu") -> ResolvedTrain:
    """What a user gets who sets nothing, on a device."""
    return ResolvedTrain.model_validate({"accelerator": ACCELERATORS[device], "devices": 1, **ONE_EPOCH})


def batch_of(task: str, images: Tensor, ground_truth: Any) -> Batch:
    """A batch as the loaders give it.

    Args:
        task, images, ground_truth: see `benchmarks.synthetic`.
    """
    targets: Any
    if task == "classify":
        targets = ClassifyTargets(ground_truth)
    elif task == "segment":
        targets = SegmentTargets(ground_truth)
    else:
        boxes, labels = ground_truth
        crowd, count = torch.zeros(labels.shape, dtype=torch.bool), torch.full((len(labels),), labels.shape[1])
        targets = DetectTargets(boxes=boxes, labels=labels, crowd=crowd, count=count)
    sizes = torch.tensor([images.shape[-2:]] * len(images))
    return Batch(images, sizes, {task: BranchTargets(torch.arange(len(images)), targets)}, origins=[])


def train(
    model: VisionModel, batch: Batch, how: ResolvedTrain, steps: int, between: Callable[[], object] = lambda: None
) -> Trained:
    """Trains a model on one batch again and again, as `vertebra.train` does it.

    Args:
        model: is changed.
        batch: see `batch_of`.
        how: the recipe.
        steps: how many.
        between: is called before each step, outside of its time.
    """
    module = TrainingModule(model.train().to(memory_format=torch.channels_last), how, pretrained=False)  # type: ignore[call-overload]
    clock = Clock(between, waiting("cuda" if how.accelerator == "gpu" else "cpu"))
    trainer = make_trainer(how, [clock], model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loaders
        trainer.fit(module, datamodule=OneBatch(batch, steps))
    return Trained(clock.seconds, clock.losses, clock.optimizer)


class Steps:
    """A loader that gives steps of one micro batch, always the same.

    Args:
        batch: the micro batch.
        count: how many steps.
    """

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch = batch
        self.count = count

    def __len__(self) -> int:
        """Number of steps."""
        return self.count

    def __iter__(self) -> Iterator[list[Batch]]:
        """The steps."""
        return iter([[self.batch]] * self.count)


class OneBatch(pl.LightningDataModule):
    """The same batch for some steps, and nothing to evaluate.

    Args:
        batch, count: see `Steps`.
    """

    def __init__(self, batch: Batch, count: int) -> None:
        super().__init__()
        self.steps = Steps(batch, count)

    def train_dataloader(self) -> Steps:
        """What is learned from."""
        return self.steps


class Clock(pl.Callback):
    """Times each step and keeps its loss.

    Args:
        between: is called before each step.
        finish: is called at the end of a step, in its time.
    """

    def __init__(self, between: Callable[[], object], finish: Callable[[], object]) -> None:
        self.between, self.finish = between, finish
        self.started = 0.0
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.optimizer = ""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *given: Any) -> None:
        """Before a step."""
        self.between()
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *given: Any) -> None:
        """After the weights have moved."""
        self.finish()
        self.seconds.append(time.perf_counter() - self.started)
        weights = {name: pl_module.model.branch(name).weight for name in pl_module.model.branches}
        terms = pl_module.losses.items()
        self.losses.append(float(sum(weights[name.partition("/")[0]] * value for name, value in terms)))
        own = trainer.optimizers[0]
        fast = [name for name in ("fused", "foreach") if own.defaults.get(name)]
        self.optimizer = " ".join([type(own).__name__, *fast])
