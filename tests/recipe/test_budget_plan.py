"""A run in a budget of time: durations, the steps that fit, the order of concessions, and the schedule of a changed plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vertebra.recipe.budget import (
    BudgetFacts,
    Costs,
    Epochs,
    RunPlan,
    parse_duration,
    plan_run,
    seconds_needed,
    steps_within,
)
from vertebra.recipe.step_plan import StepPlan

COSTS = Costs(step=1.0, frozen_step=0.5, evaluation=4.0, save=1.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20m", 1200),
        ("1h30m", 5400),
        ("90s", 90),
        ("1 h 30 min", 5400),
        ("1.5h", 5400),
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "20 minutes", "m", "1h-3m", "20m5", "-5", "soon", "nan"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration; write 20m, 1h30m, 90s, or a number of seconds"):
        parse_duration(text)


def test_a_budget_is_above_zero() -> None:
    with pytest.raises(ValueError, match="'0m' must be above zero"):
        parse_duration("0m")


@pytest.mark.parametrize(
    ("done", "total", "every", "seconds"),
    [
        (0, 10, 1, 10 + 4 + 1),  # an epoch
        (0, 4, 1, 4 + 4 + 1),  # a cut one
        (0, 25, 1, 25 + 3 * 5),
        (0, 25, 2, 25 + 2 * 4 + 3),  # after the second and the last epoch
        (10, 25, 2, 15 + 2 * 4 + 3),  # the first epoch's save is still to come
        (11, 25, 2, 14 + 2 * 4 + 2),
        (25, 25, 2, 4 + 1),
    ],
)
def test_the_seconds_that_are_left(done: int, total: int, every: int, seconds: float) -> None:
    epochs = Epochs(10, every)
    assert seconds_needed(done, total, 1.0, COSTS, epochs) == seconds
    assert steps_within(seconds, 1.0, COSTS, epochs, done=done, limit=1000) == total
    assert steps_within(seconds - 0.5, 1.0, COSTS, epochs, done=done, limit=1000) == max(done, total - 1)


# 100 steps are needed, ten in an epoch; an epoch is 10 s, an evaluation 4 s, the end of an epoch 1 s
FACTS = BudgetFacts(
    seconds=0, needed=100, limit=300, epoch_steps=10, costs=COSTS, freezable=True, canvas_factors=(1.0, 0.5)
)


@pytest.mark.parametrize(
    ("seconds", "plan"),
    [
        (10_000, RunPlan(300, 1, 0.0, 0)),  # no more steps than the limit
        (150, RunPlan(114, 2, 0.0, 0)),
        (120, RunPlan(90, 2, 0.0, 0)),  # enough for no concession
        (70, RunPlan(100, 2, 0.0, 1)),  # a smaller canvas
        (50, RunPlan(76, 5, 0.0, 1)),  # and fewer evaluations
        (40, RunPlan(80, 6, 0.6, 1)),  # and a frozen backbone
        (7, RunPlan(10, 1, 0.6, 1)),
        (1, RunPlan(1, 1, 0.0, 0)),
    ],
)
def test_concessions_come_in_order(seconds: float, plan: RunPlan) -> None:
    assert plan_run(replace(FACTS, seconds=seconds)) == plan


def test_what_the_user_has_set_is_no_concession() -> None:
    fixed = replace(FACTS, seconds=47, every=3, freezable=False, canvas_factors=(1.0,))
    assert plan_run(fixed) == RunPlan(35, 3, 0.0, 0)
    slow = replace(FACTS, seconds=47, costs=replace(COSTS, frozen_step=0.9))
    assert plan_run(slow).frozen == 0.0  # freezing would not make it faster


def test_a_plan_without_changes_is_the_steps_themselves() -> None:
    plan = StepPlan(100)
    assert [plan.schedule_step(step) for step in (0, 1, 99, 100)] == [0, 1, 99, 100] and plan.total == 100


def test_a_changed_plan_continues_and_ends_with_the_run() -> None:
    plan = StepPlan(100)
    plan.change(50, 75)  # twice as fast
    assert [plan.schedule_step(step) for step in (50, 51, 75, 80)] == [50, 52, 100, 100]
    plan.change(70, 90)  # a quarter as fast
    assert [plan.schedule_step(step) for step in (60, 70, 72, 90)] == [70, 90, 91, 100] and plan.total == 90
    assert StepPlan(plan.first, plan.changes).schedule_step(72) == 91
    plan.change(80, 80)
    assert plan.schedule_step(80) == 95 and plan.schedule_step(81) == 100
