"""Memory that is free for data: the machine's, limited by the control group of a container."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/")


def free_memory(root: Path = ROOT) -> int | None:
    """Bytes of memory that this process may still take; half of the machine's where free memory is not known, None if neither is.

    Args:
        root: the folder of ``proc`` and ``sys``.
    """
    lines = _lines(root / "proc/meminfo")
    machine = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    known = [*machine, *_of_groups(root)]
    if known:
        return max(0, min(known))
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # not on every system
        return None


def _of_groups(root: Path) -> list[int]:
    """What the limits of the control groups leave; what the system keeps of files counts as free."""
    mount = root / "sys/fs/cgroup"
    group = next((line[3:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    forms = [(folder, "memory.max", "memory.current", "inactive_file ") for folder in (mount, mount / group.strip("/"))]
    forms.append((mount / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "))
    left = []
    for folder, limit, usage, kept in forms:
        numbers = [text for name in (limit, usage) for text in _lines(folder / name)]
        if len(numbers) == 2 and all(text.isdigit() for text in numbers):
            files = [int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.startswith(kept)]
            left.append(int(numbers[0]) - int(numbers[1]) + sum(files))
    return left


def _lines(path: Path) -> list[str]:
    """A file's lines; none if it does not exist or cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
