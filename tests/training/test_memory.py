"""Memory is counted as the machine and its control groups allow, of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vertebra.training import memory
from vertebra.training.memory import available_memory, memory_budget, total_memory

MACHINE = "MemTotal:       8000 kB\nMemFree:         100 kB\nMemAvailable:   6000 kB\n"
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = "37 30 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"


def root_with(folder: Path, group: str, mounts: str, files: dict[str, str]) -> Path:
    system = {"proc/meminfo": MACHINE, "proc/self/cgroup": group, "proc/self/mountinfo": mounts}
    for name, text in {**system, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("group", "mounts", "files", "available", "total"),
    [
        ("0::/\n", V2, {}, 6_144_000, 8_192_000),
        ("0::/\n", V2, {"memory.max": "max\n", "memory.current": "5\n"}, 6_144_000, 8_192_000),
        ("0::/\n", V2, {"memory.max": "5000000\n", "memory.current": "1000000\n"}, 4_000_000, 5_000_000),
        (
            "0::/job\n",
            V2,
            {"job/memory.max": "5000000\n", "job/memory.current": "1000000\n", "job/memory.stat": "inactive_file 400000\n"},
            4_400_000,
            5_000_000,
        ),
        (
            "4:memory:/docker/abc\n",
            V1,
            {"memory/memory.limit_in_bytes": "3000000\n", "memory/memory.usage_in_bytes": "2000000\n"},
            1_000_000,
            3_000_000,
        ),
        ("4:memory:/docker/abc\n", V1, {"memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, 6_144_000, 8_192_000),
    ],
)  # fmt: skip
def test_the_smallest_limit_counts(
    tmp_path: Path, group: str, mounts: str, files: dict[str, str], available: int, total: int
) -> None:
    root = root_with(tmp_path, group, mounts, files)
    assert (available_memory(root), total_memory(root)) == (available, total)


def test_an_unknown_system_has_no_budget(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None and total_memory(tmp_path) is None
    assert memory_budget(torch.device("mps")) is None


def test_several_processes_come_to_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "total_memory", lambda: 8000)
    monkeypatch.setattr(memory, "available_memory", lambda: 5000)
    assert memory_budget(cpu) == 3500
    assert memory_budget(cpu, 4, alone=False) == 1400
    assert memory_budget(cpu, 1, alone=False) == 5600  # one on each of several machines
