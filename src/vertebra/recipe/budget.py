"""How a run is fitted into a budget of time, from the measured seconds of its steps and evaluations; pure functions.

The numbers are in `vertebra.recipe.defaults`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vertebra.recipe.defaults import (
    BUDGET_FROZEN_GAIN,
    BUDGET_FROZEN_SHARE,
    ENOUGH_STEPS,
    EVALUATION_SHARE,
    MAX_EVALUATIONS,
    TIGHT_EVALUATION_SHARE,
)

UNITS = {"d": 86400, "h": 3600, "m": 60, "min": 60, "s": 1}
NUMBER = r"\d+(?:\.\d+)?"


def parse_duration(text: str | float) -> float:
    """The seconds of a duration: "20m", "1h30m", "90s", "1 h 30 min", or a number of seconds.

    Raises:
        ValueError: it is none, or not above zero.
    """
    written = str(text).replace(" ", "").lower()
    parts = re.findall(rf"({NUMBER})(min|[dhms])", written)
    if re.fullmatch(NUMBER, written):
        seconds = float(written)
    elif parts and "".join(number + unit for number, unit in parts) == written:
        seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    else:
        raise ValueError(f"'{str(text)[:40]}' is no duration; write 20m, 1h30m, 90s, or a number of seconds")
    if not 0 < seconds < math.inf:
        raise ValueError(f"'{str(text)[:40]}' must be above zero")
    return seconds


@dataclass(frozen=True)
class Costs:
    """Seconds of the parts of a run.

    Attributes:
        step: of a training step.
        frozen_step: of one in which the backbone is frozen.
        evaluation: of an evaluation.
        save: of the end of an epoch, without its evaluation.
    """

    step: float
    frozen_step: float
    evaluation: float
    save: float = 0.0

    def at(self, factor: float) -> Costs:
        """The costs on a canvas with a factor of the pixels."""
        return replace(
            self,
            step=self.step * factor,
            frozen_step=self.frozen_step * factor,
            evaluation=self.evaluation * factor,
        )

    def mean_step(self, frozen: float) -> float:
        """Seconds of a step if the backbone is frozen in a share of them."""
        return frozen * self.frozen_step + (1 - frozen) * self.step


@dataclass(frozen=True)
class Epochs:
    """The epochs of a run.

    Attributes:
        steps: number of steps in each.
        every: number of epochs from one evaluation to the next; the last epoch is always evaluated.
    """

    steps: int
    every: int


def seconds_needed(done: int, total: int, step: float, costs: Costs, epochs: Epochs) -> float:
    """Seconds from the end of a step, before the evaluation if its epoch ends with it, to the end of the run.

    Args:
        done: number of steps that are done.
        total: number of steps of the run.
        step: mean seconds of the steps that are left.
        costs: of evaluations and saves.
        epochs: of the run.
    """
    ended, last = max(0, done - 1) // epochs.steps, math.ceil(total / epochs.steps)
    evaluations = (last - 1) // epochs.every - ended // epochs.every + 1
    return (total - done) * step + evaluations * costs.evaluation + (last - ended) * costs.save


def steps_within(seconds: float, step: float, costs: Costs, epochs: Epochs, *, done: int = 0, limit: int) -> int:
    """The largest number of steps of a run that ends within some seconds; the number that is done, or 1, if there is none.

    Args:
        seconds: that are left.
        step: mean seconds of the steps that are left.
        costs: of evaluations and saves.
        epochs: of the run.
        done: number of steps that are done.
        limit: the largest number that is wanted.
    """
    low, high = max(1, done), max(1, done, limit)
    while low < high:
        middle = (low + high + 1) // 2
        if seconds_needed(done, middle, step, costs, epochs) <= seconds:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True)
class BudgetFacts:
    """What a plan depends on.

    Attributes:
        seconds: that the run may take from its first step on.
        needed: number of steps that the images need.
        limit: largest number of steps.
        epoch_steps: number of steps in an epoch.
        costs: on the canvas that was chosen.
        every: epochs between evaluations, if the user has set them.
        frozen: share of the steps with a frozen backbone without a budget.
        freezable: whether that share may be raised.
        canvas_factors: pixels of the canvases that may be taken, each as a factor of those of the first, the chosen one.
    """

    seconds: float
    needed: int
    limit: int
    epoch_steps: int
    costs: Costs
    every: int | None = None
    frozen: float = 0.0
    freezable: bool = False
    canvas_factors: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class RunPlan:
    """How a run uses a budget.

    Attributes:
        steps: number of steps.
        every: epochs between evaluations.
        frozen: share of the steps with a frozen backbone.
        canvas: the number of the canvas in `BudgetFacts.canvas_factors`.
    """

    steps: int
    every: int
    frozen: float
    canvas: int

    def epochs(self, epoch_steps: int) -> int:
        """The number of epochs, of which the last may be cut."""
        return math.ceil(self.steps / epoch_steps)


def plan_run(facts: BudgetFacts) -> RunPlan:
    """The first plan with enough of the needed steps, or the one with the largest number of steps.

    Each plan has a concession more than the one before: the next smaller canvas, then fewer evaluations, then a backbone that is
    frozen in more of the steps, if that makes steps faster.
    """
    enough = ENOUGH_STEPS * min(facts.needed, facts.limit)
    plans = list(_plans(facts))
    return next((plan for plan in plans if plan.steps >= enough), max(plans, key=lambda plan: plan.steps))


def _plans(facts: BudgetFacts) -> Iterator[RunPlan]:
    last = len(facts.canvas_factors) - 1
    for canvas in range(len(facts.canvas_factors)):
        yield _plan_with(facts, canvas, EVALUATION_SHARE, facts.frozen)
    if facts.every is None:
        yield _plan_with(facts, last, TIGHT_EVALUATION_SHARE, facts.frozen)
    faster = facts.costs.frozen_step <= BUDGET_FROZEN_GAIN * facts.costs.step
    if facts.freezable and faster and facts.frozen < BUDGET_FROZEN_SHARE:
        yield _plan_with(facts, last, TIGHT_EVALUATION_SHARE, BUDGET_FROZEN_SHARE)


def _plan_with(facts: BudgetFacts, canvas: int, evaluation_share: float, frozen: float) -> RunPlan:
    """The plan for a canvas, with evaluations that take at most a share of the time."""
    costs = facts.costs.at(facts.canvas_factors[canvas])
    step = costs.mean_step(frozen)
    every = facts.every
    if every is None:
        count = max(1, int(evaluation_share * facts.seconds / max(costs.evaluation, 1e-9)))
        left = facts.seconds - count * costs.evaluation
        steps = min(facts.limit, max(1.0, left / max(step, 1e-9)))
        every = max(1, math.ceil(math.ceil(steps / facts.epoch_steps) / min(count, MAX_EVALUATIONS)))
    epochs = Epochs(facts.epoch_steps, every)
    steps = steps_within(facts.seconds, step, costs, epochs, limit=facts.limit)
    return RunPlan(steps, min(every, math.ceil(steps / facts.epoch_steps)), frozen, canvas)
