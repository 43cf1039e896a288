"""What an epoch costs: the seconds of its phases, on a CPU and on a GPU, and the memory."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch

from vertebra.training import epoch_cost
from vertebra.training.epoch_cost import EpochCost, memory_gb

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(epoch_cost, "time", clock)
    return clock


def steps(cost: EpochCost, clock: Clock, device: torch.device, count: int) -> None:
    """Steps of 4 images: 1 s for data, 2 for forward, 3 for backward; then 0.5 of something else."""
    for _ in range(count):
        cost.begin("data")
        clock.now += 1
        cost.begin(None)
        cost.begin("forward", device)
        clock.now += 2
        cost.begin("backward", device)
        clock.now += 3
        cost.begin(None, device)
        cost.images += 4
        clock.now += 0.5


def test_seconds_by_phase_and_the_rate(clock: Clock) -> None:
    cost = EpochCost()
    assert cost.rate is None
    steps(cost, clock, CPU, 3)
    cost.begin("evaluation")
    clock.now += 7
    cost.begin(None)
    assert cost.columns(processes=2) == {
        "images_per_second": round(2 * 12 / 18, 2),
        "seconds/data": 3, "seconds/forward": 6, "seconds/backward": 9, "seconds/evaluation": 7,
    }  # fmt: skip
    cost.reset()
    assert set(cost.columns(1).values()) == {0}


def test_an_epoch_goes_on_after_it_was_resumed(clock: Clock) -> None:
    stopped, resumed = EpochCost(), EpochCost()
    steps(stopped, clock, CPU, 2)
    resumed.load_state_dict(stopped.state_dict())
    steps(resumed, clock, CPU, 1)
    assert resumed.seconds == {"data": 3, "forward": 6, "backward": 9, "evaluation": 0} and resumed.images == 12


class Event:
    """A CUDA event on a GPU that works off one second of work in two seconds of the CPU's clock."""

    waits = 0

    def __init__(self, clock: Clock, work: float) -> None:
        self.clock, self.work = clock, work
        self.passed = False

    def query(self) -> bool:
        return self.passed or self.clock.now - 100 >= 2 * self.work

    def synchronize(self) -> None:
        Event.waits += 1
        self.passed = True

    def elapsed_time(self, end: Event) -> float:
        return 1000 * (end.work - self.work)


def test_a_gpu_is_waited_for_only_at_the_end_of_the_epoch(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that is queued at once counts with the GPU's time, and no step waits for it."""
    work, Event.waits = 0.0, 0

    def record(self: EpochCost, device: torch.device | None) -> Any:
        nonlocal work
        event = Event(clock, work)
        work += 5  # of each phase, on the GPU
        return event

    monkeypatch.setattr(EpochCost, "_record", record)
    cost = EpochCost()
    steps(cost, clock, GPU, 2)
    assert Event.waits == 0 and cost.seconds["forward"] < 10
    clock.now += 1000
    columns = cost.columns(1)
    assert Event.waits == 1
    assert (columns["seconds/forward"], columns["seconds/backward"], columns["seconds/data"]) == (10, 10, 2)


def _hold(queue: Any, done: Any) -> None:
    block = bytearray(b"x" * 200_000_000)
    queue.put(len(block))
    done.wait(30)


def test_memory_counts_loader_processes(clock: Clock) -> None:
    before = memory_gb(CPU)["cpu"]
    context = multiprocessing.get_context("fork")
    queue, done = context.Queue(), context.Event()
    worker = context.Process(target=_hold, args=(queue, done))
    worker.start()
    try:
        queue.get(timeout=30)
        with_worker = memory_gb(CPU)["cpu"]
        cost = EpochCost()
        cost.measure_memory(CPU)
    finally:
        done.set()
        worker.join()
    limit = 0.4 + 0.1 * before  # it copies some of the pages that it shares with this process
    assert 0.19 < with_worker - before < limit, "shared pages count once"
    clock.now += 1
    cost.measure_memory(CPU, now=False)  # too soon after the last time
    cost.measure_memory(CPU)
    assert cost.columns(1)["memory/cpu_gb"] == pytest.approx(with_worker, abs=0.05), "the peak stays"
