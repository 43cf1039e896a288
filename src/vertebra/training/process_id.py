"""Which process a run is in, and whether that process is still there. Nothing here loads torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """This process: ``host``, ``pid`` and ``started``, the kernel's time of its start (None where that is unknown)."""
    return {"host": platform.node(), "pid": os.getpid(), "started": _start_time(os.getpid())}


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether a process is still there; None if it is on another machine.

    Args:
        process: as `this_process` returned it there.
    """
    pid = process.get("pid")
    if process.get("host") != platform.node() or type(pid) is not int or pid < 1:
        return None
    if process.get("started") is not None:  # a number can be that of another process by now
        return bool(_start_time(pid) == process["started"])
    if os.name == "nt":
        return None  # a signal of number 0 would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str | None:
    """The boot and the clock ticks from it to the start of a process, on Linux; None elsewhere, or if it has ended."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{boot} {fields[19]}"  # Z, X: a process that has ended
    except (OSError, IndexError):
        return None
