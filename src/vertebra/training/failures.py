"""Errors of training that a user can fix, in one line."""

from __future__ import annotations

import copy

import torch

from vertebra.errors import ConfigError, RunError, VertebraError, shortened
from vertebra.model import VisionModel

ONE_VALUE = "Expected more than 1 value per channel when training"


def as_user_error(error: Exception) -> VertebraError | None:
    """An error in training as a message for the user; None for other errors."""
    text = str(error)
    if isinstance(error, ValueError) and ONE_VALUE in text:
        return ConfigError(
            "train.batch_size: BatchNorm has a single value per channel and cannot compute statistics (one image on a map "
            "of one cell); use more images at a time, a larger image_size, or model.backbone.frozen_norm=true"
        )
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return RunError(
            f"out of memory ({shortened(text, 100)}); use a smaller train.batch_size (a larger train.accumulate keeps the "
            "step the same) or train.image_size"
        )
    return None


@torch.no_grad()
def check_single_images(model: VisionModel, images: int) -> None:
    """Checks on a copy of the model that its norms can train on micro batches of one image.

    Args:
        images: in the smallest micro batch.

    Raises:
        ConfigError: a norm would have a single value per channel.
    """
    if images > 1:
        return
    trial = copy.deepcopy(model).train()
    try:
        channels, size = int(model.backbone.in_channels), model.resize_spec.size  # type: ignore[arg-type]
        features = trial.features(torch.zeros(1, channels, *size, dtype=torch.uint8))
        for name in trial.branches:
            trial.branch(name).prepare(features)
    except ValueError as error:
        raise as_user_error(error) or error from None
