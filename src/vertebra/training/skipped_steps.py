"""The steps of a run that were not taken, because a loss, a gradient or a running statistic was not finite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vertebra.data.batches import Batch
from vertebra.errors import RunError
from vertebra.messages import emit
from vertebra.training.nonfinite_batch import FOLDER, write_nonfinite_batch

MAX_IN_A_ROW = 10


class SkippedStep(NamedTuple):
    """A step that was not taken.

    Attributes:
        number: of the step, from 1.
        what: was not finite in this process, in words; empty if it was so in another process only.
        losses: of the step.
        batches: its micro batches.
    """

    number: int
    what: str
    losses: dict[str, float]
    batches: Sequence[Batch]


class SkippedSteps:
    """Counts the steps that were not taken, and ends a run after ten in a row.

    Attributes:
        counts: number of skipped steps, by reason.
        in_a_row: how many the last steps were.
        folder: of the run, where the batch of a skipped step is saved; None for nowhere.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.in_a_row = 0
        self.folder: Path | None = None
        self._first: SkippedStep | None = None  # of those in a row

    def add(self, skipped: SkippedStep, process: int | None) -> None:
        """Counts a step; the first one of each reason is printed, and its batch is saved.

        Args:
            skipped: the step.
            process: the number of this process; None if it is the only one.

        Raises:
            RunError: it is the tenth in a row.
        """
        self.in_a_row += 1
        self._first = first = self._first or skipped
        what = skipped.what or "a loss of another process"
        if not self.counts[what]:
            saved = self._save_batch(skipped, process)
            emit(f"step {skipped.number}: {what} was not finite, so the step is not taken{saved}")
        self.counts[what] += 1
        if self.in_a_row >= MAX_IN_A_ROW:
            files = ", ".join(str(origin.path) for micro in first.batches for origin in micro.origins[:2])
            raise RunError(
                f"{what} was not finite in ten steps in a row (the first, step {first.number}, with {files}, …"
                f"{self._save_batch(first, process)}); check the labels with 'vertebra data check', or start a new run with "
                "a lower train.lr"
            )

    def end_series(self) -> None:
        """A step was taken."""
        self.in_a_row, self._first = 0, None

    def _save_batch(self, skipped: SkippedStep, process: int | None) -> str:
        """Saves the batch of a step in the run folder, and returns where, in words."""
        if self.folder is None or not skipped.what:
            return ""
        name = FOLDER if process is None else f"{FOLDER}/process-{process}"
        facts = {"step": skipped.number, "not_finite": skipped.what, "losses": skipped.losses}
        path = write_nonfinite_batch(self.folder / name, skipped.batches, facts)
        return "" if path is None else f"; its images and labels are in {path}"

    def notes(self) -> list[str]:
        """The number of skipped steps, by reason."""
        return [
            f"{count} {'step was' if count == 1 else 'steps were'} not taken: {what} was not finite"
            for what, count in self.counts.items()
        ]
