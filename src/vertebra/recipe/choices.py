"""How a run's batch size, epochs and evaluations are chosen from its data, each choice with its reason; pure functions.

The numbers are in `vertebra.recipe.defaults`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vertebra.recipe.defaults import (
    BACKBONE_LR,
    BATCH_SIZES,
    EVALUATION_COST,
    EVALUATION_SHARE,
    FROZEN_SHARE,
    IMAGE_LEVEL_BACKBONE_LR,
    IMAGE_LEVEL_FACTOR,
    IMAGE_LEVEL_FROZEN_SHARE,
    MAX_EPOCHS,
    MAX_EVALUATIONS,
    MIN_EPOCHS,
    MIN_EVALUATIONS,
    MIN_PER_BRANCH,
    MIN_PER_PROCESS,
    MIN_STEPS,
    RECIPES,
    STEPS_PER_ROOT,
    Table,
)


@dataclass(frozen=True)
class Choice:
    """An option that was chosen.

    Attributes:
        option: its name in the section ``train`` of a config.
        value: JSON-ready.
        reason: in words.
    """

    option: str
    value: Any
    reason: str

    def __str__(self) -> str:
        """In one line: "epochs 17: 860 steps are needed …"."""
        value = "x".join(map(str, self.value)) if isinstance(self.value, list) else self.value
        return f"{self.option} {value}: {self.reason}"


@dataclass(frozen=True)
class DataFacts:
    """What the choices depend on.

    Attributes:
        images: number of training images that an epoch draws.
        val_images: number of images of an evaluation.
        branches: number of branches.
        image_level: whether all branches describe the whole image.
        steps_factor: the largest `vertebra.tasks.data.TaskData.steps_factor` of the branches.
        partly_labeled: whether there are images that are labeled for some of the branches only.
        processes: number of processes of the run.
    """

    images: int
    val_images: int = 0
    branches: int = 1
    image_level: bool = False
    steps_factor: float = 1.0
    partly_labeled: bool = False
    processes: int = 1


def by_images(table: Table, images: int) -> int:
    """The value of a table for a number of images, see `vertebra.recipe.defaults`."""
    return next(value for limit, value in table if images < limit)


def step_images(facts: DataFacts) -> tuple[int, str]:
    """The number of images of a step in each process, and the reason."""
    whole = by_images(BATCH_SIZES, facts.images) * (IMAGE_LEVEL_FACTOR if facts.image_level else 1)
    minimum = MIN_PER_PROCESS if facts.processes > 1 else 1
    if facts.partly_labeled:
        minimum = max(minimum, MIN_PER_BRANCH * facts.branches)
    size = max(1, min(max(whole // facts.processes, minimum), facts.images // facts.processes))
    total = size * facts.processes
    reason = f"{_number(facts.images, 'training image')}"
    if total > whole:
        reason += f", {minimum} or more a process"
        if facts.partly_labeled:
            reason += f" so that each of {facts.branches} branches has some in each step"
    if facts.processes > 1:
        reason += f"; {total} a step over {facts.processes} processes"
    return size, reason


def steps_needed(images: int, recipe: str = "default", factor: float = 1.0) -> int:
    """The number of steps of a run; ``factor``: see `DataFacts.steps_factor`."""
    return round(RECIPES[recipe].steps * max(MIN_STEPS, factor * STEPS_PER_ROOT * math.sqrt(images)))


def choose_epochs(images: int, steps_per_epoch: int, recipe: str = "default", factor: float = 1.0) -> tuple[int, str]:
    """The number of epochs, and the reason.

    Args:
        images: that an epoch draws.
        steps_per_epoch: number of steps in an epoch.
        recipe: name of the recipe.
        factor: see `DataFacts.steps_factor`.
    """
    needed = steps_needed(images, recipe, factor)
    minimum = max(1, round(RECIPES[recipe].steps * by_images(MIN_EPOCHS, images)))
    maximum = max(MAX_EPOCHS, round(RECIPES[recipe].steps * MAX_EPOCHS))
    wanted = math.ceil(needed / steps_per_epoch)
    epochs = min(max(wanted, minimum), maximum)
    reason = f"about {needed} steps are needed for {_number(images, 'image')}, and an epoch has {steps_per_epoch}"
    if epochs > wanted:
        reason += f"; at least {minimum} epochs"
    if epochs < wanted:
        reason += f"; at most {maximum} epochs"
    return epochs, reason


def choose_frozen_share(image_level: bool) -> tuple[float, str]:
    """The share of the steps in which a pretrained backbone with new branches is frozen, and the reason.

    Args:
        image_level: whether all branches describe the whole image.
    """
    return (
        IMAGE_LEVEL_FROZEN_SHARE if image_level else FROZEN_SHARE,
        "the new branches first learn to read its features",
    )


def choose_backbone_lr(image_level: bool) -> float:
    """The factor of the learning rate for a pretrained backbone; ``image_level``: all branches describe the whole image."""
    return IMAGE_LEVEL_BACKBONE_LR if image_level else BACKBONE_LR


def choose_evaluations(epochs: int, images: int, val_images: int) -> tuple[int, str]:
    """The number of epochs between evaluations, and the reason.

    Args:
        epochs: of the run.
        images: that an epoch draws.
        val_images: of an evaluation.
    """
    cost = EVALUATION_COST * val_images / images  # of an evaluation, in epochs of training
    by_time = math.ceil(cost * (1 - EVALUATION_SHARE) / EVALUATION_SHARE)
    by_count = math.ceil(epochs / MAX_EVALUATIONS)
    maximum = max(1, epochs // MIN_EVALUATIONS)
    every = min(max(1, by_time, by_count), maximum)
    share = cost / (cost + every)
    reason = f"evaluating {_number(val_images, 'image')} then takes about {100 * share:.0f} % of the time"
    if every == by_count > max(1, by_time):
        reason = f"{MAX_EVALUATIONS} evaluations are enough, and the last epoch is always evaluated"
    return every, reason


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
