"""How a run ended, in its ``run.json``: stopped by a signal, or failed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from vertebra.errors import RunError, StoppedBySignal, VertebraError, first_line, shortened
from vertebra.training.failures import as_user_error
from vertebra.training.folder import Interrupted
from vertebra.training.record_file import RECORD, write_record


class EndRecord(pl.Callback):
    """Records that a run was stopped, or why it failed, in the entry ``end`` of its last start.

    Args:
        folder: the run folder.
        record: content of its ``run.json``.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero:
            record_end(self.folder, self.record, exception)


def record_end(folder: Path, record: dict[str, Any], error: BaseException) -> None:
    """Records an error that ends a run.

    Args:
        folder: the run folder.
        record: content of its ``run.json``.
        error: the error.
    """
    if isinstance(error, Interrupted | StoppedBySignal | KeyboardInterrupt):
        end = {"state": "stopped"}
    else:
        user_error = error if isinstance(error, VertebraError) else None
        if user_error is None and isinstance(error, Exception):
            user_error = as_user_error(error)
        kind = "" if user_error is not None else f"{type(error).__name__}: "
        end = {"state": "failed", "reason": shortened(kind + first_line(user_error or error), 300)}
    record["starts"][-1]["end"] = end
    if (folder / RECORD).is_file():
        with suppress(RunError):  # of a full disk; the error that ends the run is the one to report
            write_record(folder, record)
