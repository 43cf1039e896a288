"""Freezes a pretrained backbone in the first steps of a training, while the new parts learn to read its features."""

from __future__ import annotations

import math

from torch import nn

from vertebra.errors import ConfigError
from vertebra.training.resolved_config import ResolvedTrain
from vertebra.training.sharding import FSDP


class FrozenStart:
    """Freezes a backbone, with its running statistics, in the first steps.

    New parts with random weights would change good features for the worse (Kumar et al., "Fine-Tuning can Distort Pretrained
    Features", ICLR 2022, arXiv 2202.10054). Parameters that are frozen anyway stay so.

    Args:
        backbone: whose parameters are frozen.
        steps: how many of the first steps.
    """

    def __init__(self, backbone: nn.Module, steps: int) -> None:
        self.backbone, self.steps = backbone, steps
        self.parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]

    def apply(self, step: float) -> None:
        """Freezes or unfreezes the backbone for a training step; must be called after the model was set to training mode.

        Args:
            step: how many steps are done; see `vertebra.recipe.step_plan.StepPlan.schedule_step`.
        """
        if not self.steps:
            return
        frozen = step < self.steps
        for parameter in self.parameters:
            parameter.requires_grad_(not frozen)
        if frozen:
            self.backbone.eval()


def can_freeze(strategy: str) -> bool:
    """Whether a strategy trains weights without gradients in some steps: FSDP does not, and DDP only if it searches for them."""
    return strategy != FSDP and (not strategy.startswith("ddp") or strategy.endswith("find_unused_parameters_true"))


def check_backbone_options(recipe: ResolvedTrain, backbone: nn.Module, pretrained: bool) -> None:
    """Checks that the options of a pretrained backbone have an effect, and that the strategy allows them.

    Raises:
        ConfigError: one has none: the backbone is random, or frozen for the whole training; or the strategy cannot freeze.
    """
    if recipe.freeze_backbone > 0 and not can_freeze(recipe.strategy):
        raise ConfigError(
            f"train.freeze_backbone and train.strategy {recipe.strategy} exclude each other, since a frozen backbone has no "
            "gradients; take the strategy auto or ddp_find_unused_parameters_true, or set train.freeze_backbone=0"
        )
    changed = {"freeze_backbone": recipe.freeze_backbone > 0, "layer_decay": recipe.layer_decay < 1}
    for name in (name for name, is_set in changed.items() if is_set):
        if not pretrained:
            raise ConfigError(
                f"'train.{name}' has no effect: the backbone has random weights; set pretrained, or leave it out"
            )
        if not any(parameter.requires_grad for parameter in backbone.parameters()):
            raise ConfigError(
                f"'train.{name}' has no effect: the backbone is frozen for the whole training; leave it out"
            )


def frozen_steps(recipe: ResolvedTrain, total: int) -> int:
    """In how many of all steps the backbone is frozen."""
    return math.floor(total * recipe.freeze_backbone)
