"""Errors of the engine that a user can put right, in one line."""

from __future__ import annotations

import copy

import torch

from vertebra.errors import ConfigError, RunError, VertebraError, shortened
from vertebra.model import VisionModel

ONE_VALUE = "Expected more than 1 value per channel when training"


def explained(error: Exception) -> VertebraError | None:
    """What to tell of an error in training; None for those that are no user's affair."""
    text = str(error)
    if isinstance(error, ValueError) and ONE_VALUE in text:
        return ConfigError(
            "train.batch_size: BatchNorm sees a single value per channel, from which it cannot learn (one image on a map of "
            "one cell); take more images at a time, a larger image_size, or model.backbone.frozen_norm=true"
        )
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return RunError(
            f"out of memory ({shortened(text, 100)}); take a smaller train.batch_size (with train.accumulate a step stays the "
            "same) or train.image_size"
        )
    return None


@torch.no_grad()
def check_single_images(model: VisionModel, images: int) -> None:
    """Whether the norms of a model can learn from micro batches of one image, tried on a copy of it.

    Args:
        images: in the smallest micro batch.

    Raises:
        ConfigError: one of them would see a single value per channel.
    """
    if images > 1:
        return
    tried = copy.deepcopy(model).train()
    try:
        channels, size = int(model.backbone.in_channels), model.resize_spec.size  # type: ignore[arg-type]
        features = tried.features(torch.zeros(1, channels, *size, dtype=torch.uint8))
        for name in tried.branches:
            tried.branch(name).prepare(features)
    except ValueError as error:
        raise explained(error) or error from None
