"""Lightning's trainer for a recipe."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException

from vertebra.errors import ConfigError, shortened
from vertebra.model import VisionModel
from vertebra.training.hardware import check_hardware
from vertebra.training.precision import choose_precision
from vertebra.training.resolved_config import ResolvedTrain
from vertebra.training.state_files import SyncedCheckpoints


def make_trainer(recipe: ResolvedTrain, callbacks: list[pl.Callback], model: VisionModel) -> pl.Trainer:
    """Lightning's trainer for a recipe and a model."""
    hardware = check_hardware(recipe)
    strategy: str = recipe.strategy
    if strategy == "auto" and (hardware.processes > 1 or recipe.num_nodes > 1):
        # parameters without gradients: of branches that a batch has no labels for, and those that only another model needs
        unread = any(model.get_parameter(name).requires_grad for name in model.unused_parameters())
        unread = unread or recipe.freeze_backbone > 0
        strategy = "ddp_find_unused_parameters_true" if len(model.branches) > 1 or unread else "ddp"
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    precision: Any = choose_precision(recipe, model)
    try:
        return _trainer(recipe, callbacks, strategy, precision)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        # checked by Lightning only: combinations of strategy, accelerator and precision, and cluster variables
        raise ConfigError(
            f"train.strategy '{recipe.strategy}', accelerator '{recipe.accelerator}', devices {recipe.devices} and precision "
            f"'{recipe.precision}' cannot be combined: {shortened(str(error), 200)}"
        ) from error


def _trainer(recipe: ResolvedTrain, callbacks: list[pl.Callback], strategy: str, precision: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        num_nodes=recipe.num_nodes,
        strategy=strategy,
        precision=precision,
        max_epochs=recipe.epochs,
        check_val_every_n_epoch=recipe.evaluate_every,
        callbacks=callbacks,
        plugins=SyncedCheckpoints(),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def silence_lightning() -> None:
    """Ignores Lightning's warnings about loaders and devices, which the recipe has set."""
    for message in (
        ".*does not have many workers.*",
        ".*available but not used.*",
        ".*in eval mode at the start.*",
        ".*treespec.*",
    ):
        warnings.filterwarnings("ignore", message=message)
