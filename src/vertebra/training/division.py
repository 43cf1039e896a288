"""The division of a step's images into micro batches and processes, which may change within a run while their number stays."""

from __future__ import annotations

from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData
from vertebra.errors import RunError
from vertebra.training.resolved_config import ResolvedTrain

DIVISION = frozenset({"train.batch_size", "train.accumulate"})


def step_size(recipe: ResolvedTrain) -> int:
    """Number of images of a step in each process."""
    return recipe.batch_size * recipe.accumulate


def divide_further(recipe: ResolvedTrain) -> str | None:
    """Options for micro batches of at most half the size in steps of as many images; None for micro batches of one image."""
    step = step_size(recipe)
    sizes = [size for size in range(1, recipe.batch_size // 2 + 1) if step % size == 0]
    return f"train.batch_size={sizes[-1]} train.accumulate={step // sizes[-1]}" if sizes else None


def check_step(old: ResolvedTrain, old_processes: int, new: ResolvedTrain, processes: int) -> None:
    """Checks that a step has the same number of images with another number of processes.

    Raises:
        RunError: it has not; the message names the options.
    """
    before, now = step_size(old) * old_processes, step_size(new) * processes
    if before != now:
        raise RunError(
            f"train.devices: {_count(processes)} with train.batch_size {new.batch_size} and train.accumulate "
            f"{new.accumulate} make steps of {now} images, and the run has steps of {before}; set them so that it is "
            f"{before} again, or go back to {_count(old_processes)}"
        )


def _count(processes: int) -> str:
    return f"{processes} process" if processes == 1 else f"{processes} processes"


def redrawn_note(data: MixedData, old: ResolvedTrain, new: ResolvedTrain, processes: int) -> list[str]:
    """A note if other micro batches mean other images: each needs labeled images of every branch.

    Args:
        data: the training data.
        old: the options before.
        new: the options now, with as many images a step.
        processes: of the run.
    """
    if step_size(old) != step_size(new):  # with another number of processes
        return []
    shares = []
    for recipe in (old, new):
        sampler = MixSampler(data, step_size(recipe), world_size=processes)
        sampler.divide(recipe.accumulate)
        shares.append(sampler.shares)
    if shares[0] == shares[1]:
        return []
    return [
        "with other micro batches the following steps draw other images: each micro batch needs some of every branch"
    ]
