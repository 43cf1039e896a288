"""Keeps a run within its budget of time: changes the number of steps while it runs, and continues when it is resumed."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import lightning.pytorch as pl

from vertebra.config import Config
from vertebra.errors import ConfigError, RunError
from vertebra.messages import emit
from vertebra.recipe.budget import Costs, Epochs, parse_duration, steps_within
from vertebra.recipe.step_plan import StepPlan
from vertebra.training.durations import duration_text
from vertebra.training.resolved_config import ResolvedConfig
from vertebra.training.step import TrainingModule

CHECKS = 10  # the pace is checked after this part of the steps or of the time that is left
TOLERANCE = 0.02  # change of the steps that are left, below which the plan is kept
LATEST_LONGER = 0.9  # part of the schedule after which no steps are added: the learning rate is low
SPARE = 0.01  # part of the budget that is not planned
REPORT_SHARE = 0.05  # part of the budget that is kept for the report, at most
WINDOW = 100  # steps whose mean counts


@dataclass(frozen=True)
class FirstPlan:
    """How a new run begins.

    Attributes:
        steps: number of steps.
        limit: largest number of steps.
        costs: as measured before the run.
        began: when the budget began, by `time.monotonic`.
    """

    steps: int
    limit: int
    costs: Costs
    began: float


class BudgetKeeper(pl.Callback):
    """Ends a run on time.

    A step costs what the last ones of its kind have cost (frozen backbone or not), or what was measured before the run; an
    evaluation and a save what the last one has. After a tenth of the steps or of the time that is left, so at each step at the
    end, the number of steps is changed to what fits; the schedules continue, see `vertebra.recipe.step_plan`. The last epoch may
    be cut, and is evaluated.

    It must come after the callback that saves the state.

    Args:
        seconds: the budget, from the start of the run on, without the time between a stop and a resumption.
        epochs: of the run.
        frozen: share of the steps with a frozen backbone.
        first: of a new run; None for a run that is resumed.
        changed: whether the budget has another length than before the run was resumed.
        clock: seconds of any origin.
    """

    def __init__(
        self,
        seconds: float,
        epochs: Epochs,
        frozen: float,
        first: FirstPlan | None,
        *,
        changed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds, self.epochs, self.frozen, self.changed, self.clock = seconds, epochs, frozen, changed, clock
        self.began = clock() if first is None else first.began
        self.spent = 0.0
        self.plan = StepPlan(1 if first is None else first.steps)
        self.limit = 1 if first is None else first.limit
        self.costs = Costs(0.0, 0.0, 0.0) if first is None else first.costs
        self.step = 0
        self.left_out = 0  # steps of epochs that were cut and not continued
        self._laps: dict[bool, deque[float]] = {frozen: deque(maxlen=WINDOW) for frozen in (False, True)}
        self._mark = self.began
        self._uncounted: set[bool] = set()  # kinds of steps whose first one is still to come
        self._saving = False
        self._next_check = (0, 0.0)  # step, and seconds since the start
        self._printed = self.plan.total

    def state_dict(self) -> dict[str, Any]:
        return {
            "first": self.plan.first,
            "changes": [list(change) for change in self.plan.changes],
            "limit": self.limit,
            "costs": asdict(self.costs),
            "seconds": self.elapsed,
            "step": self.step,
            "left_out": self.left_out,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.plan.restart(state_dict["first"], [(done, total) for done, total in state_dict["changes"]])
        self.limit = state_dict["limit"]
        self.costs = Costs(**state_dict["costs"])
        self.spent = state_dict["seconds"]
        self.step, self.left_out = state_dict["step"], state_dict["left_out"]
        if self.changed and (self._left > 0 or self.step < self.plan.total):
            self.plan.restart(self._fitting_steps())
            emit(f"budget: {self._state()}; the learning rate follows the schedule of {self.plan.total} steps")
        self._printed = self.plan.total

    @property
    def elapsed(self) -> float:
        """Seconds that the run has taken so far."""
        return self.spent + self.clock() - self.began

    @property
    def _left(self) -> float:
        """Seconds that are left for training; the report evaluates once more."""
        return self.seconds * (1 - SPARE) - min(self.costs.evaluation, REPORT_SHARE * self.seconds) - self.elapsed

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        assert isinstance(module, TrainingModule)
        module.plan = self.plan  # before the optimizers are configured

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._set_epochs(trainer)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.step = trainer.global_step
        self._mark, self._uncounted = self.clock(), {False, True}
        self._next_check = self._later_check()
        if self.step >= self.plan.total:
            trainer.should_stop = True  # it had ended before it was resumed

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._saving:
            self.costs = replace(self.costs, save=self._lap())
        self._saving = False
        self._mark = self.clock()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        before, self.step = self.step, trainer.global_step
        frozen = self.plan.schedule_step(before) < self._frozen_until
        self._take_step(self._lap(), frozen)
        if self.step >= self._next_check[0] or self.elapsed >= self._next_check[1]:
            self._check(trainer)
        if self.step >= self.plan.total:
            self.left_out += self.epochs.steps - batch_idx - 1
            trainer.should_stop = True
        self._saving = batch_idx + 1 == self.epochs.steps

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._mark = self.clock()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.costs = replace(self.costs, evaluation=self._lap())

    def _lap(self) -> float:
        now = self.clock()
        seconds, self._mark = now - self._mark, now
        return seconds

    def _take_step(self, seconds: float, frozen: bool) -> None:
        """Takes the seconds of a step. The first one of each kind after a start does not count: it also starts loader processes, or
        compiles the model."""
        if frozen in self._uncounted:
            self._uncounted.remove(frozen)
            return
        laps = self._laps[frozen]
        laps.append(seconds)
        mean = sum(laps) / len(laps)
        self.costs = replace(self.costs, frozen_step=mean) if frozen else replace(self.costs, step=mean)

    @property
    def _frozen_until(self) -> int:
        """The step of the first plan at which the backbone is unfrozen."""
        return math.floor(self.frozen * self.plan.first)

    def _fitting_steps(self) -> int:
        """The number of steps that ends the run on time."""
        first = self.plan.first
        reached = min(self.plan.schedule_step(self.step), first - 1)
        frozen = max(0.0, self._frozen_until - reached) / (first - reached)
        steps = steps_within(
            self._left,
            self.costs.mean_step(frozen),
            self.costs,
            self.epochs,
            done=self.step + self.left_out,
            limit=self.limit + self.left_out,
        )
        return steps - self.left_out

    def _later_check(self) -> tuple[int, float]:
        steps = max(1, (self.plan.total - self.step) // CHECKS)
        return self.step + steps, self.elapsed + max(0.0, self._left) / CHECKS

    def _check(self, trainer: pl.Trainer) -> None:
        """Changes the number of steps if the run would end too late or too early."""
        total, planned = self._fitting_steps(), self.plan.total
        longer = total > planned
        late = longer and self.plan.schedule_step(self.step) > LATEST_LONGER * self.plan.first
        if abs(total - planned) > TOLERANCE * (planned - self.step) and not late:
            self.plan.change(self.step, total)
            self._set_epochs(trainer)
            if abs(total - self._printed) > self._printed / 10:
                emit(f"budget: {self._state()}")
                self._printed = total
        self._next_check = self._later_check()

    def _set_epochs(self, trainer: pl.Trainer) -> None:
        """Sets the number of epochs, and evaluates in the last one."""
        trainer.fit_loop.max_epochs = math.ceil((self.plan.total + self.left_out) / self.epochs.steps)
        if trainer.current_epoch + 1 == trainer.fit_loop.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def _state(self) -> str:
        used = f"{duration_text(self.elapsed)} of {duration_text(self.seconds)} used"
        return f"{used} after {self.step} steps, {self.plan.total} steps in all ({self.costs.step:.2g} s a step)"


def budget_keeper(
    config: ResolvedConfig, epoch_steps: int, first: FirstPlan | None, *, changed: bool
) -> list[pl.Callback]:
    """The callback that keeps a run within its budget; none without a budget.

    Args:
        config: of the run.
        epoch_steps: number of steps in an epoch.
        first: of a new run.
        changed: whether the budget has changed since the run was stopped.
    """
    seconds, recipe = budget_seconds(config), config.train
    if seconds is None:
        return []
    epochs = Epochs(epoch_steps, recipe.evaluate_every)
    return [BudgetKeeper(seconds, epochs, recipe.freeze_backbone, first, changed=changed)]


def budget_seconds(config: Config) -> float | None:
    """The budget of a run; None without one."""
    return None if config.train.budget is None else parse_duration(config.train.budget)


def check_budget_change(before: Config, now: Config, processes: int) -> None:
    """Checks the options of a resumed run that a budget chooses.

    Raises:
        RunError: a budget is added or removed, or the number of epochs changes in a run that has one.
        ConfigError: a run with a budget has more than one process.
    """
    if (before.train.budget is None) != (now.train.budget is None):
        raise RunError(
            "train.budget: a run with a budget may get another one when it is resumed, but none can be added or removed; change "
            "train.epochs of a run without one"
        )
    if now.train.budget is None:
        return
    if before.train.epochs != now.train.epochs:
        raise RunError("train.epochs: the budget of this run chooses its epochs; change train.budget instead")
    check_processes(processes)


def check_processes(processes: int) -> None:
    """Checks that a run with a budget has one process: each would measure other times.

    Raises:
        ConfigError: it has more.
    """
    if processes > 1:
        raise ConfigError(
            f"train.budget: {processes} processes would each measure other times; set train.devices=1, or train.epochs in place of "
            "the budget"
        )
