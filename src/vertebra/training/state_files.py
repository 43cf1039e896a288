"""The files of a run's state: written whole, synced to the disk, and the one before kept until the new one is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from vertebra.errors import WeightsError
from vertebra.files import PARTIAL, os_errors_as_run_errors, sync_file, sync_folder
from vertebra.weights.header import read_header

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
WRITING = f"{LAST}.partial"
BEST = "model.safetensors"
NEW_BEST = "model.epoch-{}.safetensors"


class SyncedCheckpoints(TorchCheckpointIO):
    """Writes checkpoints directly to their path, and to the disk.

    Lightning's own class builds a copy in memory, writes it into the system's temporary folder and moves it from there: a
    small ``/tmp`` ends a run, and a power cut may leave a file of zeros.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes one file.

        Raises:
            OSError: the disk is full, or another error of the operating system.
        """
        try:
            with Path(path).open("wb") as file:
                torch.save(checkpoint, file)
                sync_file(file)
        except RuntimeError as error:  # of PyTorch's zip writer, which hides the error of the file
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def replace_state(folder: Path, write: Callable[[Path], None], first_process: bool) -> None:
    """Writes a run's state. At any moment the folder holds a whole one, and after the first two also the one before.

    The one before makes room first, so that a folder never holds more than two.

    Args:
        folder: of the run.
        write: writes the file in all processes.
        first_process: whether this process moves the files.

    Raises:
        RunError: an error of the operating system; the state so far stays.
    """
    last, previous, partial = folder / LAST, folder / PREVIOUS, folder / WRITING
    with os_errors_as_run_errors(last):
        try:
            if first_process and last.exists():
                previous.unlink(missing_ok=True)
            write(partial)
            if first_process:
                _link_previous(last, previous)
                partial.replace(last)
                sync_folder(folder)
        except BaseException:  # also a second Ctrl-C
            if first_process:
                partial.unlink(missing_ok=True)  # the disk has some free space again
            raise


def _link_previous(last: Path, previous: Path) -> None:
    """Gives the state so far its second name."""
    if not last.exists():
        return
    try:
        previous.hardlink_to(last)
    except OSError:  # a file system without hard links: for a moment there is only the previous state
        last.replace(previous)


def new_best(folder: Path, epoch: int) -> Path:
    """The path of the best weights of an epoch until the state that refers to them is on the disk."""
    return folder / NEW_BEST.format(epoch)


def take_new_best(folder: Path, epoch: int | None) -> None:
    """Renames the best weights of an epoch, once the state that refers to them is on the disk."""
    if epoch is not None and new_best(folder, epoch).exists():
        with os_errors_as_run_errors(folder / BEST):
            new_best(folder, epoch).replace(folder / BEST)
            sync_folder(folder)


def best_problem(path: Path, epoch: int) -> str | None:
    """Why a file does not hold the best weights of an epoch, in words; None if it does.

    Files of older versions do not name their epoch; they are accepted.
    """
    if not path.is_file():
        return "is missing"
    try:
        stored = read_header(path)[0].get("provenance", {}).get("epoch", epoch)
    except WeightsError:
        return "is damaged"
    return (
        None if stored == epoch else f"has the weights of epoch {stored}, and the saved state refers to epoch {epoch}"
    )


def saved_states(folder: Path) -> list[Path]:
    """The saved states of a run, the newest first."""
    return [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]


def remove_leftovers(folder: Path, resumed_from: str | Path | None) -> None:
    """Removes what a killed process left half written, weights to which no state refers, and a damaged state.

    Args:
        folder: of the run.
        resumed_from: the state that the run was resumed from, if any; it becomes the last one.
    """
    if resumed_from is not None and Path(resumed_from).name == PREVIOUS:
        (folder / PREVIOUS).replace(folder / LAST)
    for pattern in (WRITING, f"{PARTIAL}*", NEW_BEST.format("*")):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
