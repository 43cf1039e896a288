"""Errors of training that a user can fix, in one line."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path

import torch

from vertebra.errors import ConfigError, RunError, VertebraError, shortened
from vertebra.model import VisionModel
from vertebra.training.division import divide_further, step_size
from vertebra.training.resolved_config import ResolvedTrain

ONE_VALUE = "Expected more than 1 value per channel when training"
MEMORY_SIGNS = (
    "can't allocate memory",  # PyTorch on Linux and macOS
    "not enough memory",  # PyTorch on Windows
    "out of memory",  # CUDA and MPS
    "ALLOC_FAILED",  # cuDNN and cuBLAS
)


def as_user_error(
    error: Exception, recipe: ResolvedTrain | None = None, folder: Path | None = None
) -> VertebraError | None:
    """An error in training as a message for the user; None for other errors.

    Args:
        error: the error.
        recipe: the run's options, to propose a smaller batch.
        folder: the run's folder if it can be resumed.
    """
    text = str(error)
    if isinstance(error, ValueError) and ONE_VALUE in text:
        return ConfigError(
            "train.batch_size: BatchNorm has a single value per channel and cannot compute statistics (one image on a map "
            "of one cell); use more images at a time, a larger image_size, or model.backbone.frozen_norm=true"
        )
    if is_out_of_memory(error):
        return RunError(
            f"out of memory ({shortened(text or type(error).__name__, 100)}); {_smaller_batch(recipe, folder)}"
        )
    return None


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that the memory of the machine or of the GPU does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return (
        isinstance(error, RuntimeError)
        and not isinstance(error, VertebraError)
        and any(sign in str(error) for sign in MEMORY_SIGNS)
    )


def _smaller_batch(recipe: ResolvedTrain | None, folder: Path | None) -> str:
    """Which batch size to take, as a command."""
    if recipe is None:
        return "use smaller batches or images"
    options = divide_further(recipe)
    if options is None:
        return "one image at a time does not fit; start a new run with a smaller train.image_size or a smaller backbone"
    start = (
        "start again with" if folder is None else f"continue with: vertebra train --resume {shlex.quote(str(folder))}"
    )
    return f"half the images at a time need less, with the same {step_size(recipe)} images a step; {start} {options}"


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
