"""Times several things in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def in_turns(runs: dict[str, Callable[[], object]], repeats: int = 7, warm: int = 1) -> dict[str, float]:
    """Median seconds of each run, by its name."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + warm):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if repeat >= warm:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def show(title: str, seconds: dict[str, float], images: int = 1) -> None:
    """Prints milliseconds an image, and each one's ratio to the first."""
    print(f"\n{title}")
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:<48} {1000 * value / images:9.1f} ms   {value / first:5.2f} x")
