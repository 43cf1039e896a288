"""How many CPUs this process may use: of all that the machine has, those that it is bound to, as far as its container allows."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Lock

ROOT = Path("/")
WAITING = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
)  # how OpenMP's threads wait; read when they are first used
SPINS = "1000"  # some microseconds; to sleep at once costs small models a third of their speed

_LIMITING = Lock()
_LIMITED = Event()  # in this process


def usable_cpus(root: Path = ROOT) -> int:
    """CPUs that this process may keep busy, at least 1.

    Args:
        root: where ``proc`` and ``sys`` lie.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = cpu_quota(root)
    return bound if allowed is None else max(1, min(bound, int(allowed)))


def cpu_limit(root: Path = ROOT) -> int | None:
    """`usable_cpus`, where these are fewer than the machine has; None where all may be used: libraries count these themselves."""
    usable = usable_cpus(root)
    return usable if usable < (os.cpu_count() or 1) else None


def limit_torch(sharing: int = 1) -> None:
    """Lets PyTorch use no more threads than there are CPUs for it, in the whole process. Fewer stay fewer.

    Only the first call in a process does so: what is set later, by ``torch.set_num_threads`` or ``threads=``, stays. A number
    that ``torch.set_num_threads`` set before cannot be told from PyTorch's own, and is limited; ``OMP_NUM_THREADS`` is not.

    Args:
        sharing: processes of this machine that work together.
    """
    with _LIMITING:
        if _LIMITED.is_set():
            return
        _LIMITED.set()
        limit = cpu_limit()
        if limit is None or "OMP_NUM_THREADS" in os.environ:
            return
        import torch

        if torch.get_num_threads() > max(1, limit // sharing):
            torch.set_num_threads(max(1, limit // sharing))


def let_threads_sleep() -> None:
    """Lets OpenMP's threads, PyTorch's among them, sleep after a short wait, so that other work gets the CPU.

    It must run before PyTorch is loaded. What the user has set stays as it is. `benchmarks/waiting.py` measures it.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def cpu_quota(root: Path = ROOT) -> float | None:
    """How many CPUs' time the control groups of this process allow it (Docker's ``--cpus``, Kubernetes' limits); None: no limit."""
    limits = [
        limit
        for version, mount, group in _groups(root)
        for folder in (mount, *_way_down(mount, group))
        if (limit := _limit(version, folder)) is not None
    ]
    return min(limits, default=None)


def _groups(root: Path) -> list[tuple[int, Path, str]]:
    """The control groups that may limit the CPU: their version, where they are mounted, and the path below."""
    group_paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            group_paths[2 if number == "0" else 1] = path
    groups = []
    for line in _lines(root / "proc/self/mountinfo"):
        fields, _, kind = line.partition(" - ")
        mount_root, mount_point = fields.split()[3:5]
        system, _, options = kind.split(maxsplit=2)
        version = {"cgroup2": 2, "cgroup": 1}.get(system)
        if version in group_paths and (version == 2 or "cpu" in options.split(",")):
            path = group_paths[version]
            inside = path.removeprefix(mount_root) if mount_root != "/" and path.startswith(mount_root) else path
            groups.append((version, root / mount_point.lstrip("/"), inside))
    return groups


def _way_down(mount: Path, group: str) -> list[Path]:
    """The folders from a mount down to a group; each may have a limit of its own."""
    parts = [part for part in group.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[: count + 1]) for count in range(len(parts))]


def _limit(version: int, folder: Path) -> float | None:
    if version == 2:
        words = " ".join(_lines(folder / "cpu.max")).split()
    else:
        words = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
    if len(words) != 2 or not all(word.strip().isdigit() for word in words):
        return None  # "max", or -1
    quota, period = map(int, words)
    return quota / period if quota > 0 and period > 0 else None


def _lines(path: Path) -> list[str]:
    """A file's lines; none of one that this system does not have, or does not show."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
