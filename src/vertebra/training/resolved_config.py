"""The config of a run with all choices made: every option that the recipe chooses has a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from vertebra.config import MANY, Config, TrainConfig
from vertebra.validation import validate


class ResolvedTrain(TrainConfig):
    """Options of training without open choices; see `vertebra.config.TrainConfig` for all of them."""

    epochs: int = Field(ge=1, le=MANY)
    batch_size: int = Field(ge=1, le=MANY)
    accumulate: int = Field(ge=1, le=MANY)
    evaluate_every: int = Field(ge=1, le=MANY)
    backbone_lr: float = Field(ge=0)
    freeze_backbone: float = Field(ge=0, lt=1)


class ResolvedConfig(Config):
    """The config of a run without open choices."""

    train: ResolvedTrain


def resolved_config(config: Config) -> ResolvedConfig:
    """A config in which nothing is left to choose.

    Raises:
        ConfigError: an option has no value; the message has its path.
    """
    return validate(ResolvedConfig, config.model_dump(mode="json"), "")


def recorded_config(raw: Mapping[str, Any], where: str) -> ResolvedConfig:
    """The config of a run as the run has written it, or an older version without the entry of freezing, which froze nothing.

    Args:
        raw: the config as plain values.
        where: file name for messages.

    Raises:
        ConfigError: something is wrong with it; the message names it.
    """
    config = Config.from_raw(raw, where)
    if config.train.freeze_backbone is None:
        config.train.freeze_backbone = 0.0
    return resolved_config(config)
