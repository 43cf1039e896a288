"""The cost of an epoch: the seconds of its phases, its rate in images per second, and its peak memory."""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

PHASES = ("data", "forward", "backward", "evaluation")
TRAINING = ("data", "forward", "backward")
MEMORY_SECONDS = 15.0
ON_GPU = frozenset({"forward", "backward"})  # phases whose work a GPU does after the CPU has queued it


class EpochCost:
    """Measures one epoch after the other.

    A phase lasts until the next one begins. Phases: ``data``, waiting for a batch and its copy to the device; ``forward``, model
    and loss; ``backward``, gradients, their exchange between processes, and the optimizer step; ``evaluation``. The time between
    phases, such as that of saving, is in none.

    On a CPU the seconds are those of a clock. On a GPU, the ends of forward and backward are CUDA events in the stream. An event
    is read once the GPU has passed it, in a later step or at the end of the epoch, so no step waits for the GPU because of it.

    Attributes:
        seconds: by phase, since the epoch began, also before a stop within it.
        images: number of training images, of this process, since the epoch began.
        memory_gb: peak memory since the run was started or resumed, see `memory_gb`.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.images = 0
        self.memory_gb: dict[str, float] = {}
        self._measured = -math.inf
        self._phase: str | None = None
        self._began = 0.0
        self._event: Any = None
        self._queued: list[tuple[str, Any, Any]] = []

    def begin(self, phase: str | None, device: torch.device | None = None) -> None:
        """Begins a phase, and ends the one before; None only ends it.

        Args:
            phase: one of `PHASES`.
            device: of the model; needed for forward and backward on a GPU.
        """
        now = time.perf_counter()
        event = self._record(device) if ON_GPU & {phase, self._phase} else None
        if self._phase is not None:
            if self._event is not None and event is not None:
                self._queued.append((self._phase, self._event, event))
            else:
                self.seconds[self._phase] += now - self._began
        self._phase, self._began = phase, now
        self._event = event if phase in ON_GPU else None
        self._take_passed(wait=False)

    def _record(self, device: torch.device | None) -> Any:
        """A new event in the stream of a GPU; None on other devices."""
        if device is None or device.type != "cuda":
            return None
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        return event

    def _take_passed(self, *, wait: bool) -> None:
        """Adds the phases whose end the GPU has passed.

        Args:
            wait: whether to wait for the GPU until it has passed all of them.
        """
        if wait and self._queued:
            self._queued[-1][2].synchronize()
        while self._queued and self._queued[0][2].query():
            phase, start, end = self._queued.pop(0)
            self.seconds[phase] += start.elapsed_time(end) / 1000

    @property
    def rate(self) -> float | None:
        """Training images per second of this process in this epoch, without evaluation; None before the first."""
        seconds = sum(self.seconds[phase] for phase in TRAINING)
        return self.images / seconds if self.images and seconds else None

    def measure_memory(self, device: torch.device, *, now: bool = True) -> None:
        """Takes the peak memory up to now.

        Args:
            device: of the model.
            now: False: only if it was last taken more than `MEMORY_SECONDS` ago.
        """
        clock = time.monotonic()
        if not now and clock - self._measured < MEMORY_SECONDS:
            return
        self._measured = clock
        for name, value in memory_gb(device).items():
            self.memory_gb[name] = max(value, self.memory_gb.get(name, 0.0))

    def columns(self, processes: int) -> dict[str, float]:
        """The columns of a row of metrics: ``images_per_second``, ``seconds/PHASE`` and ``memory/KIND_gb``.

        Args:
            processes: number of training processes; seconds and memory are those of the first.
        """
        self._take_passed(wait=True)
        rate = {} if self.rate is None else {"images_per_second": round(self.rate * processes, 2)}
        return {
            **rate,
            **{f"seconds/{phase}": round(value, 3) for phase, value in self.seconds.items()},
            **{f"memory/{name}_gb": round(value, 3) for name, value in self.memory_gb.items()},
        }

    def reset(self) -> None:
        """Begins the next epoch; the peak memory stays."""
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.images = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint within an epoch."""
        self._take_passed(wait=True)
        return {"seconds": dict(self.seconds), "images": self.images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the epoch of a checkpoint."""
        self.seconds |= {phase: float(state["seconds"][phase]) for phase in PHASES}
        self.images = int(state["images"])


def memory_gb(device: torch.device) -> dict[str, float]:
    """Peak memory in 10^9 bytes; what the system does not report is left out.

    - ``cpu``: the largest resident memory of this process so far, and the memory that each of its loader processes has for itself
      now (Linux only); pages that they share with this process count once.
    - ``gpu``: the most that tensors have had at a time on this process' GPU; a program such as nvidia-smi shows more, because it
      counts PyTorch's cache and the CUDA context, too.
    """
    resident = _peak_resident_bytes()
    loaders = sum(_private_bytes(process.pid) for process in multiprocessing.active_children())
    memory = {} if resident is None else {"cpu": (resident + loaders) / 1e9}
    if device.type == "cuda":
        memory["gpu"] = torch.cuda.max_memory_allocated(device) / 1e9
    return memory


def _peak_resident_bytes() -> int | None:
    """The largest resident memory of this process so far; None where the system does not report it."""
    peak = _kilobytes(Path("/proc/self/status"), "VmHWM")
    if peak is not None:
        return 1024 * peak
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest  # in bytes on macOS, in kilobytes elsewhere


def _private_bytes(pid: int | None) -> int:
    """The memory that a process shares with no other; 0 where the system does not report it."""
    path = Path(f"/proc/{pid}/smaps_rollup")
    parts = [_kilobytes(path, name) for name in ("Private_Clean", "Private_Dirty")]
    return 1024 * sum(part or 0 for part in parts)


def _kilobytes(path: Path, name: str) -> int | None:
    """A number of kilobytes from one of Linux's files on a process; None if there is none."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # not Linux, or the process has ended
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(values[0]) if values else None
