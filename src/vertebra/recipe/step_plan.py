"""The number of steps of a run, which may change while it runs, and where its schedule then is; pure."""

from __future__ import annotations

from collections.abc import Sequence


class StepPlan:
    """The steps of a run.

    The schedules of the learning rate and of freezing are made for the first number of steps. When the number changes, they
    continue from the point that they have reached, slower or faster, and still end with the run.

    Args:
        first: the first number of steps.
        changes: later ones, each with the number of steps that were done before.
    """

    def __init__(self, first: int, changes: Sequence[tuple[int, int]] = ()) -> None:
        self.first = first
        self.changes = list(changes)

    @property
    def total(self) -> int:
        """The present number of steps."""
        return self.changes[-1][1] if self.changes else self.first

    def restart(self, first: int, changes: Sequence[tuple[int, int]] = ()) -> None:
        """Becomes another plan; see `StepPlan`."""
        self.first, self.changes = first, list(changes)

    def change(self, done: int, total: int) -> None:
        """Changes the number of steps.

        Args:
            done: how many steps are done.
            total: how many there will be, at least as many as are done.
        """
        self.changes.append((done, total))

    def schedule_step(self, step: int) -> float:
        """The step of a run with the first number of steps that is as far in the schedule as a step of this run."""
        reached, start, end = 0.0, 0, self.first
        for done, total in self.changes:
            if step <= done:
                break
            reached += (self.first - reached) * _share(start, done, end)
            start, end = done, total
        return reached + (self.first - reached) * _share(start, step, end) if self.changes else step


def _share(start: int, step: int, end: int) -> float:
    """How far a step is on the way from a start to an end."""
    return min(1.0, (step - start) / (end - start)) if end > start else 1.0
