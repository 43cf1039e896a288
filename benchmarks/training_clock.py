"""The time of a training without its evaluations, and what was measured at some moments of it. Nothing of Vertebra is imported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

SHARES = (0.05, *(0.1 * tenth for tenth in range(1, 10)))
"""When to measure, as shares of a training; its end is measured besides."""


class Clock:
    """Seconds since it was made, without those in which it was stopped."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._stopped: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds that count."""
        return (time.perf_counter() if self._stopped is None else self._stopped) - self._began

    def stop(self) -> None:
        """Stops it; a stopped clock stays so."""
        if self._stopped is None:
            self._stopped = time.perf_counter()

    def resume(self) -> None:
        """Lets a stopped clock run again."""
        if self._stopped is not None:
            self._began += time.perf_counter() - self._stopped
            self._stopped = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops it for a while; a clock that is stopped anyway stays so."""
        running = self._stopped is None
        self.stop()
        try:
            yield
        finally:
            if running:
                self.resume()


class Point(NamedTuple):
    """Metrics at a moment of a training: after so many seconds and steps."""

    seconds: float
    steps: int
    metrics: dict[str, float]


class Curve:
    """The metrics of a training at some moments.

    Args:
        measure: from a model to its metrics on the test split; its time does not count.
        shares: of the training, in order, when it is measured.
    """

    def __init__(self, measure: Callable[[Any], dict[str, float]], shares: Sequence[float] = SHARES) -> None:
        self.measure, self.shares = measure, list(shares)
        self.clock = Clock()
        self.points: list[Point] = []

    def reach(self, share: float, steps: int, model: Any) -> None:
        """Measures if a share of the training that is to be measured has been reached.

        Args:
            share: of the training that is over.
            steps: that were taken.
            model: as it is now.
        """
        passed = [wanted for wanted in self.shares if share >= wanted]
        if passed:
            self.shares = self.shares[len(passed) :]
            self.add(steps, model)

    def add(self, steps: int, model: Any) -> None:
        """Measures now."""
        with self.clock.stopped():
            self.points.append(Point(self.clock.seconds, steps, self.measure(model)))


def seconds_to(points: Sequence[Point], name: str, value: float) -> float | None:
    """The seconds until a metric had first reached a value; None if it never did. Moments between points are not guessed."""
    return next((point.seconds for point in points if point.metrics[name] >= value), None)


def plain(points: Sequence[Point]) -> list[Mapping[str, Any]]:
    """Points as a file of results has them."""
    return [point._asdict() for point in points]
