"""Chooses canvas, epochs, evaluations and freezing of a run with a budget of time, from measured steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vertebra.build import canvas_size
from vertebra.config import Config
from vertebra.data.canvas import measured_canvas
from vertebra.data.open_datasets import Opened, branch_tasks
from vertebra.data.sampler import MixSampler
from vertebra.errors import ConfigError
from vertebra.messages import emit
from vertebra.model import VisionModel
from vertebra.recipe.budget import BudgetFacts, Costs, Epochs, RunPlan, plan_run, seconds_needed
from vertebra.recipe.choices import Choice
from vertebra.recipe.defaults import BUDGET_MARGIN, RECIPES
from vertebra.training.budget import FirstPlan, check_processes
from vertebra.training.choosing import make_choices
from vertebra.training.durations import duration_text
from vertebra.training.frozen_start import can_freeze, check_backbone_options
from vertebra.training.hardware import Hardware, local_device
from vertebra.training.loaders import RunData
from vertebra.training.record import was_pretrained
from vertebra.training.resolved_config import ResolvedConfig, resolved_config
from vertebra.training.step_costs import measure_costs
from vertebra.training.teacher import open_teacher
from vertebra.training.user_transform import Transform

SMALLER = {"best": ("default", "fast"), "default": ("fast",), "fast": ()}  # recipes with smaller canvases
MEASURED_SHARE, MEASURED_SECONDS = 0.02, 10.0  # of the budget, at most so many seconds, for each of the measured costs


@dataclass(frozen=True)
class BudgetRun:
    """A run with a budget, before it begins.

    Attributes:
        opened: training data.
        val: evaluation data.
        hardware: of the run.
        transform: the user's augmentation, if any.
        build: makes the model of a config.
        seconds: the budget.
        began: when the budget began, by `time.monotonic`.
    """

    opened: Opened
    val: Opened
    hardware: Hardware
    transform: Transform | None
    build: Callable[[Config], VisionModel]
    seconds: float
    began: float


@dataclass(frozen=True)
class _Measured:
    """A run's options on one canvas, and what was measured with them."""

    config: ResolvedConfig
    model: VisionModel
    choices: list[Choice]
    costs: Costs
    epoch_steps: int
    pretrained: bool


def fit_into_budget(
    config: Config, model: VisionModel, choices: Sequence[Choice], run: BudgetRun
) -> tuple[ResolvedConfig, VisionModel, list[Choice], FirstPlan]:
    """The config of a run with a budget, its model, all choices, and its first plan.

    Args:
        config: with classes and canvas.
        model: of that config.
        choices: what was chosen so far.
        run: the data and the budget.

    Raises:
        ConfigError: not even one step fits, the model cannot be measured, or the run has several processes.
    """
    check_processes(run.hardware.processes * config.train.num_nodes)
    canvases = _canvases(config, run, chosen=any(choice.option == "image_size" for choice in choices))
    emit("budget: measuring training steps and evaluations")
    measured = _measure(config, model, run)
    facts = _facts(measured, config, run, canvases)
    plan = plan_run(facts)
    made = {choice.option: choice for choice in choices}
    if plan.canvas:
        smaller = config.model_copy(deep=True)
        smaller.train.image_size = list(canvases[plan.canvas])
        made["image_size"] = _canvas_choice(facts, canvases, plan.canvas)
        measured = _measure(smaller, run.build(smaller), run)
        facts = _facts(measured, config, run, [canvases[plan.canvas]])
        plan = plan_run(facts)
    _check_one_step(facts, run)
    planned = _planned(plan, facts, config)
    made = {choice.option: choice for choice in [planned[0], *made.values(), *measured.choices, *planned]}
    resolved = measured.config.model_copy(deep=True)
    resolved.train.epochs, resolved.train.evaluate_every = plan.epochs(facts.epoch_steps), plan.every
    resolved.train.freeze_backbone = plan.frozen
    first = FirstPlan(plan.steps, facts.limit, measured.costs, run.began)
    return resolved_config(resolved), measured.model, list(made.values()), first


def _measure(config: Config, model: VisionModel, run: BudgetRun) -> _Measured:
    """Chooses the options that depend on the data and the memory, and measures steps with them."""
    config_with_all, choices = make_choices(config, model, run.opened, run.val, run.hardware)
    recipe = config_with_all.train
    data = RunData(model, recipe, run.opened.sources, run.val.sources, run.transform)
    data.check_augment()
    pretrained = bool(model.backbone.pretrained) or was_pretrained(config)
    check_backbone_options(recipe, model.backbone, pretrained)
    seconds = min(MEASURED_SECONDS, MEASURED_SHARE * run.seconds)
    teacher, device = open_teacher(recipe, model), local_device(recipe, run.hardware)
    costs = measure_costs(model, data, recipe, device, pretrained, teacher, seconds)
    epoch_steps = MixSampler(data.train_set, recipe.batch_size * recipe.accumulate).steps
    return _Measured(config_with_all, model, choices, costs, epoch_steps, pretrained)


def _canvases(config: Config, run: BudgetRun, *, chosen: bool) -> list[tuple[int, int]]:
    """The canvas of a config and, if the user has not set it, the smaller ones of recipes that are shorter."""
    tasks = set(branch_tasks(config).values())
    canvases = [canvas_size(config.train.image_size, tasks)]
    for recipe in SMALLER[config.train.recipe] if chosen else ():
        canvas, _ = measured_canvas([source.index for source in run.opened.sources], tasks, recipe)
        if canvas[0] * canvas[1] < canvases[-1][0] * canvases[-1][1]:
            canvases.append(canvas)
    return canvases


def _facts(measured: _Measured, config: Config, run: BudgetRun, canvases: Sequence[tuple[int, int]]) -> BudgetFacts:
    """What the plan depends on.

    Args:
        measured: on the first of the canvases.
        config: before anything was chosen for the budget.
        run: the budget.
        canvases: that may be taken.
    """
    recipe, train = config.train, measured.config.train
    needed = train.epochs * measured.epoch_steps
    factor = RECIPES["best"].steps / RECIPES[recipe.recipe].steps if recipe.epochs is None else 1.0
    height, width = canvases[0]
    freezable = recipe.freeze_backbone is None and measured.pretrained and can_freeze(recipe.strategy)
    return BudgetFacts(
        seconds=(1 - BUDGET_MARGIN) * run.seconds - (time.monotonic() - run.began),
        needed=needed,
        limit=round(needed * factor),
        epoch_steps=measured.epoch_steps,
        costs=measured.costs,
        every=recipe.evaluate_every,
        frozen=train.freeze_backbone,
        freezable=freezable,
        canvas_factors=tuple(side[0] * side[1] / (height * width) for side in canvases),
    )


def _check_one_step(facts: BudgetFacts, run: BudgetRun) -> None:
    """Checks that one step and its evaluation fit into the budget.

    Raises:
        ConfigError: they do not.
    """
    shortest = seconds_needed(0, 1, facts.costs.step, facts.costs, Epochs(facts.epoch_steps, 1))
    if shortest > facts.seconds:
        minimum = math.ceil((shortest + time.monotonic() - run.began) / (1 - BUDGET_MARGIN))
        raise ConfigError(
            f"train.budget: {duration_text(run.seconds)} are too short for one step and its evaluation; give at least {minimum}s"
        )


def _canvas_choice(facts: BudgetFacts, canvases: Sequence[tuple[int, int]], canvas: int) -> Choice:
    """Why a smaller canvas was taken."""
    fitting = plan_run(replace(facts, canvas_factors=facts.canvas_factors[:1], freezable=False)).steps
    whole = "x".join(map(str, canvases[0]))
    reason = f"at {whole} only {fitting} of {facts.needed} needed steps fit into the budget"
    return Choice("image_size", list(canvases[canvas]), reason)


def _planned(plan: RunPlan, facts: BudgetFacts, config: Config) -> list[Choice]:
    """What the budget has chosen, and why."""
    costs = facts.costs
    frozen = f" ({_seconds(costs.frozen_step)} with a frozen backbone)" if costs.frozen_step < costs.step else ""
    reason = f"a step takes {_seconds(costs.step)}{frozen} and an evaluation {_seconds(costs.evaluation)}, as measured"
    choices = [Choice("budget", config.train.budget, reason)]
    steps = f"{plan.steps} steps, where {facts.needed} are needed"
    if plan.steps >= facts.limit:
        limit = (
            "of recipe 'best', so that the model is not overfitted" if config.train.epochs is None else "that are set"
        )
        steps += f"; no more than the {facts.limit} {limit}, so the run ends before the budget does"
    elif plan.steps < facts.needed:
        steps += "; more do not fit into the budget"
    choices.append(Choice("epochs", plan.epochs(facts.epoch_steps), f"{steps}; an epoch has {facts.epoch_steps}"))
    if config.train.evaluate_every is None:
        count = math.ceil(plan.epochs(facts.epoch_steps) / plan.every)
        share = count * costs.evaluation / max(facts.seconds, 1e-9)
        choices.append(
            Choice("evaluate_every", plan.every, f"evaluations then take about {100 * share:.0f} % of the time")
        )
    if plan.frozen != facts.frozen:
        choices.append(
            Choice("freeze_backbone", plan.frozen, "steps with a frozen backbone are faster, and time is short")
        )
    return choices


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration_text(seconds)
