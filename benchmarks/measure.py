"""Times several things in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Spent(NamedTuple):
    """Seconds of one call.

    Attributes:
        median: of all calls that count.
        low, high: between which half of them lie.
        count: how many there were.
    """

    median: float
    low: float
    high: float
    count: int


def spent(seconds: list[float]) -> Spent:
    """The median and the quartiles of some calls, at least one."""
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else [seconds[0]] * 3
    return Spent(statistics.median(seconds), low, high, len(seconds))


def in_turns(
    runs: Mapping[str, Callable[[], object]],
    repeats: int = 7,
    warm: int = 1,
    turn: float = 0.0,
    pause: float = 0.0,
    finish: Callable[[], object] = lambda: None,
    clock: Callable[[], float] | None = None,
) -> dict[str, Spent]:
    """Seconds of each run, by its name: A B C, A B C ….

    Args:
        runs: what is timed.
        repeats: turns of each that count.
        warm: turns of each before, that do not.
        turn: seconds for which a turn lasts; its first call, which finds the caches full of another run's data, counts only
            where there is no second.
        pause: seconds before each turn, in which another runtime's waiting threads go to sleep.
        finish: waits until the work is done, in each run's time; see `waiting`.
        clock: seconds; by default the time of day. `time.thread_time` is the processor's, for work on one thread on a busy machine.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + warm):
        for name, run in runs.items():
            time.sleep(pause)
            own: list[float] = []
            while not own or sum(own) < turn:
                started = (clock or time.perf_counter)()
                run()
                finish()
                own.append((clock or time.perf_counter)() - started)
            if repeat >= warm:
                times[name] += own[1:] or own
    return {name: spent(values) for name, values in times.items()}


def waiting(device: str) -> Callable[[], object]:
    """What waits until a device has done its work: a GPU still works after the call that started it."""
    if device == "cpu":
        return lambda: None
    import torch

    return torch.cuda.synchronize


def milliseconds(spans: Mapping[str, Spent]) -> dict[str, Any]:
    """Medians and quartiles for a file of results, by name."""
    return {
        name: {"median": 1e3 * own.median, "quartiles": [1e3 * own.low, 1e3 * own.high]} for name, own in spans.items()
    }
