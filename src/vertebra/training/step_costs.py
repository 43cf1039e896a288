"""Measures the seconds of training steps and evaluations before a run, on a copy of its model."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from vertebra.cpus import limit_torch
from vertebra.data.batches import Batch
from vertebra.data.loaders import Loader
from vertebra.errors import ConfigError, first_line, shortened
from vertebra.evaluation.measure import Evaluation
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.recipe.budget import Costs
from vertebra.training.frozen_start import FrozenStart
from vertebra.training.loaders import RunData
from vertebra.training.micro_batch import DTYPES, total_loss, weight_bytes
from vertebra.training.optimizers import make_optimizer
from vertebra.training.parameter_groups import parameter_groups
from vertebra.training.precision import choose_precision
from vertebra.training.resolved_config import ResolvedTrain
from vertebra.training.teacher import Teacher

WARM_UP = 2  # calls that do not count
MAX_TIMED = 20  # calls that count, at most
SAVE_RATE = 1e8  # bytes per second of a saved state, until one was saved


def measure_costs(
    model: VisionModel,
    data: RunData,
    recipe: ResolvedTrain,
    device: torch.device,
    pretrained: bool,
    teacher: Teacher | None,
    seconds: float,
) -> Costs:
    """The seconds of a step, of a step with a frozen backbone, and of an evaluation, data loading included.

    Args:
        model: is left as it is, and so are the random states.
        data: of the run.
        recipe: of the run.
        device: that the run computes on.
        pretrained: whether the backbone is; only then it can be frozen.
        teacher: of the run; it is moved to the device.
        seconds: that the measurement of each may take, above the calls that are needed.

    Raises:
        ConfigError: the model cannot be copied.
    """
    limit_torch()
    try:
        trial = copy.deepcopy(model).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    except Exception as error:  # foreign modules hold anything
        raise ConfigError(
            f"train.budget: this model cannot be copied to measure its steps ({shortened(first_line(error), 120)}); set "
            "train.epochs"
        ) from error
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        step, frozen_step = _measure_steps(trial, data, recipe, device, pretrained, teacher, seconds)
        evaluation = _measure_evaluation(trial, data, recipe, device, seconds)
    save = 2 * weight_bytes(model, recipe.ema is not None) / SAVE_RATE
    return Costs(step, frozen_step, evaluation, save)


def _measure_steps(
    trial: VisionModel,
    data: RunData,
    recipe: ResolvedTrain,
    device: torch.device,
    pretrained: bool,
    teacher: Teacher | None,
    seconds: float,
) -> tuple[float, float]:
    """Seconds of a step, and of one with a frozen backbone."""
    autocast = _autocast(trial, recipe, device)
    batches = _endless(data.train_dataloader())
    optimizer = make_optimizer(parameter_groups(trial.backbone, trial, recipe, pretrained), recipe)
    frozen_start = FrozenStart(trial.backbone, 1)
    if teacher is not None:
        teacher.to(device)

    def take_step(frozen: bool) -> None:
        step: Sequence[Batch] = [micro.to(device) for micro in next(batches)]
        trial.train()
        frozen_start.apply(0 if frozen else 1)
        for counted in (True, False) if len(step) > 1 else (False,):  # several micro batches are counted first
            for micro in step:
                with torch.set_grad_enabled(not counted), autocast():
                    loss = total_loss(trial, micro, teacher)
                if loss.requires_grad:
                    torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step_seconds = _timed(lambda: take_step(False), seconds, device)
    can_freeze = pretrained and bool(frozen_start.parameters)
    return step_seconds, _timed(lambda: take_step(True), seconds, device) if can_freeze else step_seconds


def _measure_evaluation(
    trial: VisionModel, data: RunData, recipe: ResolvedTrain, device: torch.device, seconds: float
) -> float:
    """Seconds of an evaluation, from some of its batches."""
    autocast = _autocast(trial, recipe, device)
    loader = data.val_dataloader()
    batches, evaluation = _endless(loader), Evaluation(model_info(trial))
    trial.eval()

    def evaluate_batch() -> None:
        with torch.no_grad(), autocast():
            evaluation.update(next(batches).to(device), trial)

    return len(loader) * _timed(evaluate_batch, seconds, device)


def _endless(loader: Loader) -> Iterator[Any]:
    """The batches of a loader, again and again."""
    while True:
        yield from loader


def _autocast(model: VisionModel, recipe: ResolvedTrain, device: torch.device) -> Callable[[], Any]:
    precision = choose_precision(recipe, model)
    return lambda: torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


def _timed(call: Callable[[], None], seconds: float, device: torch.device) -> float:
    """Mean seconds of a call, after some that do not count: one of them if it alone takes the time."""
    began = _clock(device)
    for _ in range(WARM_UP):
        call()
        if _clock(device) - began > seconds:
            break
    began, count = _clock(device), 0
    while not count or (count < MAX_TIMED and _clock(device) - began < seconds):
        call()
        count += 1
    return (_clock(device) - began) / count


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
