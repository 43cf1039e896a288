"""The memory that a training may use: the machine's or the GPU's, within the limits of control groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from vertebra.cpus import ROOT, control_folders
from vertebra.recipe.defaults import MEMORY_SHARE

_FILES = {2: ("memory.max", "memory.current"), 1: ("memory.limit_in_bytes", "memory.usage_in_bytes")}
_CACHES = {2: "inactive_file", 1: "total_inactive_file"}  # pages that the kernel gives back when memory is needed


def memory_budget(device: torch.device, processes: int = 1, alone: bool = True) -> int | None:
    """Bytes that each process of a run may use on this machine; None if unknown.

    A single process may use a share of what is free now. Several must come to the same number, whenever each of them asks, so
    it is a share of the whole.

    Args:
        device: that the run computes on.
        processes: of the run on this machine.
        alone: whether the run has a single process, on all machines.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(MEMORY_SHARE * (free if alone else total))
    if device.type != "cpu":
        return None
    whole = available_memory() if alone else total_memory()
    return None if whole is None else int(MEMORY_SHARE * whole / processes)


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that can be allocated now; None if unknown.

    Args:
        root: the folder of ``proc`` and ``sys``.
    """
    free = [limit - used for limit, used in _group_limits(root)]
    return max(0, min(free)) if (free := [*free, *_machine(root, "MemAvailable")]) else None


def total_memory(root: Path = ROOT) -> int | None:
    """Bytes of the machine, or of its container; None if unknown."""
    return min([*(limit for limit, _ in _group_limits(root)), *_machine(root, "MemTotal")], default=None)


def _group_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limits of the control groups, each with the memory that is used of it."""
    for version, folder in control_folders(root, "memory"):
        limit, used = (_number(folder / name) for name in _FILES[version])
        if limit is not None:
            cached = _entry(folder / "memory.stat", _CACHES[version])
            yield limit, max(0, (used or 0) - (cached or 0))


def _machine(root: Path, name: str) -> list[int]:
    """A number of the machine's memory, in bytes; none if unknown."""
    kilobytes = _entry(root / "proc/meminfo", f"{name}:")
    return [] if kilobytes is None else [kilobytes * 1024]


def _entry(path: Path, name: str) -> int | None:
    """The number after a name, in a file of such lines."""
    try:
        words = (line.split() for line in path.read_text().splitlines())
        return next((int(line[1]) for line in words if line[:1] == [name]), None)
    except (OSError, ValueError, IndexError):
        return None


def _number(path: Path) -> int | None:
    """A file's only number; None for "max", and if there is none."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
