"""The number of CPUs that this process may use: the machine's, limited by the CPU affinity and the container's quota."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Lock

ROOT = Path("/")
WAITING = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
)  # set how OpenMP's threads wait; read at their first use
SPINS = "1000"  # some microseconds; without spinning, small models lose a third of their speed

_LIMITING = Lock()
_LIMITED = Event()  # in this process


def usable_cpus(root: Path = ROOT) -> int:
    """Number of CPUs that this process may use, at least 1.

    Args:
        root: the folder of ``proc`` and ``sys``.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def cpu_limit(root: Path = ROOT) -> int | None:
    """`usable_cpus` if they are fewer than the machine has; None otherwise, as libraries count all CPUs themselves."""
    usable = usable_cpus(root)
    return usable if usable < (os.cpu_count() or 1) else None


def limit_torch(sharing: int = 1) -> None:
    """Limits PyTorch's threads to the usable CPUs, in the whole process; a smaller number is kept.

    Only the first call in a process has an effect, so later settings by ``torch.set_num_threads`` or ``threads=`` are kept. An
    earlier ``torch.set_num_threads`` cannot be distinguished from PyTorch's default and is limited; ``OMP_NUM_THREADS`` is not.

    Args:
        sharing: number of processes on this machine that share the CPUs.
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
    """Makes OpenMP's threads (PyTorch's, too) sleep after a short wait, so that other work gets the CPU.

    It must run before PyTorch is loaded. The user's settings are kept. `benchmarks/waiting.py` measures it.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def cpu_quota(root: Path = ROOT) -> float | None:
    """The CPU quota of this process's control groups, in CPUs (Docker's ``--cpus``, Kubernetes' limits); None: no limit."""
    limits = [
        limit for version, folder in control_folders(root, "cpu") if (limit := _limit(version, folder)) is not None
    ]
    return min(limits, default=None)


def control_folders(root: Path, controller: str) -> list[tuple[int, Path]]:
    """The folders of the control groups that may limit this process, each with its version.

    Args:
        root: the folder of ``proc`` and ``sys``.
        controller: "cpu" or "memory".
    """
    return [
        (version, folder)
        for version, mount, group in _groups(root, controller)
        for folder in (mount, *_folders_to(mount, group))
    ]


def _groups(root: Path, controller: str) -> list[tuple[int, Path, str]]:
    """The control groups with a controller: their version, where they are mounted, and the path below."""
    group_paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            group_paths[2 if number == "0" else 1] = path
    groups = []
    for line in _lines(root / "proc/self/mountinfo"):
        fields, _, kind = line.partition(" - ")
        mount_root, mount_point = fields.split()[3:5]
        system, _, options = kind.split(maxsplit=2)
        version = {"cgroup2": 2, "cgroup": 1}.get(system)
        if version in group_paths and (version == 2 or controller in options.split(",")):
            path = group_paths[version]
            inside = path.removeprefix(mount_root) if mount_root != "/" and path.startswith(mount_root) else path
            groups.append((version, root / mount_point.lstrip("/"), inside))
    return groups


def _folders_to(mount: Path, group: str) -> list[Path]:
    """The folders from a mount point down to a group; each may have a limit."""
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
    """A file's lines; none if it does not exist or cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
