"""The time that is left of a run, from the seconds of its steps and evaluations since the run was started or resumed."""

from __future__ import annotations

import time
from collections import deque

WINDOW = 100  # steps


class Pace:
    """Measures steps and evaluations, and estimates the time that is left.

    The mean of the last `WINDOW` steps counts, without the first step after a start, which also starts loader processes.
    """

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None
        self._evaluation: float | None = None
        self._mark = time.monotonic()

    def start(self) -> None:
        """Begins a step or an evaluation now."""
        self._mark = time.monotonic()

    def end_step(self) -> None:
        """Ends a step; the next one begins."""
        seconds = self._lap()
        if self._first is None:
            self._first = seconds
        else:
            self._steps.append(seconds)

    def end_evaluation(self) -> None:
        """Ends an evaluation; the next step begins."""
        self._evaluation = self._lap()

    def _lap(self) -> float:
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        return seconds

    def left(self, steps: int, evaluations: int) -> float | None:
        """Seconds that are left; None before the first step. Evaluations count from the first one on.

        Args:
            steps: number of steps that are left.
            evaluations: number of evaluations that are left.
        """
        step = sum(self._steps) / len(self._steps) if self._steps else self._first
        if step is None:
            return None
        return steps * step + evaluations * (self._evaluation or 0.0)


def evaluations_left(done: int, epochs: int, every: int) -> int:
    """Number of evaluations of the epochs that are left; the last epoch is always evaluated.

    Args:
        done: number of epochs that are done.
        epochs: number of epochs of the run.
        every: number of epochs from one evaluation to the next.
    """
    if done >= epochs:
        return 0
    return epochs // every - done // every + (1 if epochs % every else 0)
