"""CPUs are counted as the container and the binding of the process allow, on control groups of both versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from vertebra import cpus
from vertebra.cpus import cpu_limit, cpu_quota, cpus_each, limit_torch, usable_cpus
from vertebra.training.loaders import choose_workers

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = """\
36 30 0:30 {above} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct
37 30 0:31 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
"""


def made(root: Path, group: str, mounts: str, files: dict[str, str]) -> Path:
    """A file system with what the kernel tells of control groups."""
    for name, text in {"proc/self/cgroup": group, "proc/self/mountinfo": mounts, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),  # a container with a name space of its own
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),  # the machine itself
        ("0::/user/job\n", {"user/cpu.max": "150000 100000\n", "user/job/cpu.max": "max 100000\n"}, 1.5),
        ("0::/user/job\n", {"user/cpu.max": "400000 100000\n", "user/job/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/../other\n", {"cpu.max": "300000 100000\n"}, 3.0),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
    ],
)
def test_version_two(tmp_path: Path, group: str, files: dict[str, str], quota: float | None) -> None:
    root = made(tmp_path, group, V2, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert cpu_quota(root) == quota


@pytest.mark.parametrize(
    ("above", "folder", "quota", "expected"),
    [
        ("/docker/abc", "", "250000", 2.5),  # Docker shows a container its own group as the root
        ("/", "docker/abc/", "250000", 2.5),
        ("/", "docker/", "100000", 1.0),
        ("/docker/abc", "", "-1", None),
    ],
)
def test_version_one(tmp_path: Path, above: str, folder: str, quota: str, expected: float | None) -> None:
    own = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n"
    place = f"sys/fs/cgroup/cpu,cpuacct/{folder}"
    files = {f"{place}cpu.cfs_quota_us": f"{quota}\n", f"{place}cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(made(tmp_path, own, V1.format(above=above), files)) == expected


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert usable_cpus(tmp_path) >= 1


@pytest.mark.parametrize(("quota", "usable"), [("50000", 1), ("190000", 1), ("300000", 3), ("6400000", 8)])
def test_the_smaller_of_binding_and_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    root = made(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": f"{quota} 100000\n"})
    assert usable_cpus(root) == usable == cpu_limit(root)
    monkeypatch.setattr(os, "cpu_count", lambda: usable)
    assert cpu_limit(root) is None, "what the whole machine has is no limit"


def test_loader_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for usable, workers in ((1, 0), (2, 1), (4, 3), (64, 8)):
        monkeypatch.setattr(cpus, "usable_cpus", lambda usable=usable: usable)
        assert choose_workers(None) == workers and choose_workers(5) == 5
    assert choose_workers(None, sharing=8) == 7 and choose_workers(None, sharing=64) == 0


def test_the_cpus_of_a_task_of_slurm_are_not_divided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert cpus_each(4, 8) == 2 and cpus_each(4, 2) == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert cpus_each(4, 8) == 8 and cpus_each(4, 32) == 8, "bound to its part, or to none"


class Torch:
    """As much of PyTorch as is asked."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        self.threads = threads


@pytest.mark.parametrize(
    ("limit", "sharing", "before", "after"),
    [(4, 1, 32, 4), (4, 1, 2, 2), (None, 1, 32, 32), (4, 2, 32, 2), (1, 4, 8, 1)],
)
def test_threads_of_pytorch(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, sharing: int, before: int, after: int
) -> None:
    monkeypatch.setattr(cpus, "cpu_limit", lambda: limit)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    fake = Torch(before)
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(cpus, "_LIMITED", Event())
    limit_torch(sharing)
    assert fake.threads == after
    monkeypatch.setattr(cpus, "_LIMITED", Event())
    monkeypatch.setenv("OMP_NUM_THREADS", "32")
    fake.threads = before
    limit_torch(sharing)
    assert fake.threads == before, "what the user says stays"


def test_what_is_set_after_the_first_limit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "cpu_limit", lambda: 2)
    monkeypatch.setattr(cpus, "_LIMITED", Event())
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    fake = Torch(32)
    monkeypatch.setitem(sys.modules, "torch", fake)
    limit_torch()
    assert fake.threads == 2
    fake.set_num_threads(8)
    for sharing in (1, 2):
        limit_torch(sharing)
        assert fake.threads == 8


def test_threads_that_are_asked_for_stay_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that may use one CPU, through engines that are made before and after."""
    import torch

    import vertebra

    monkeypatch.setattr(cpus, "cpu_limit", lambda: 1)
    monkeypatch.setattr(cpus, "_LIMITED", Event())
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, image = torch.get_num_threads(), np.zeros((32, 32, 3), np.uint8)
    try:
        torch.set_num_threads(2)
        for threads, expected in ((None, 1), (3, 3), (None, 3)):
            model = vertebra.create_model("test_resnet", decoder="linear", classes=["a", "b"], image_size=(32, 32))
            model.predict(image, threads=threads)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


def test_threads_that_are_asked_for_a_file_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from vertebra.runtimes import torch_export

    monkeypatch.setattr(cpus, "cpu_limit", lambda: 1)
    monkeypatch.setattr(cpus, "_LIMITED", Event())
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch_export, "sanitized_copy", lambda path: path)
    before = torch.get_num_threads()
    try:
        with pytest.raises(torch_export.WeightsError, match="torch cannot open it"):
            torch_export.TorchSession(tmp_path / "a.pt2", threads=3)
        limit_torch()  # as a model in the same process does
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes are not bound here")
def test_a_process_bound_to_one_cpu() -> None:
    code = "from vertebra.cpus import usable_cpus; import sys; print(usable_cpus(), 'torch' in sys.modules)"
    first = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {first}),
    )
    assert done.stdout == "1 False\n"


def test_sessions_take_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from vertebra.runtimes import onnx

    given: list[int] = []

    class Session:
        def __init__(self, path: str, options: object, providers: list[str]) -> None:
            given.append(options.intra_op_num_threads)  # type: ignore[attr-defined]
            raise RuntimeError("enough")

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnx, "cpu_limit", lambda: 3)
    (tmp_path / "a.onnx").write_bytes(b"")
    for threads in (None, 5):
        with pytest.raises(onnx.WeightsError, match="enough"):
            onnx.OnnxSession(tmp_path / "a.onnx", threads=threads)
    assert given == [3, 5]


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, cpus.SPINS),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
        ({"GOMP_SPINCOUNT": "5"}, "5"),
        ({"KMP_BLOCKTIME": "0"}, None),
    ],
)
def test_the_command_line_lets_threads_sleep(given: dict[str, str], spins: str | None) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in cpus.WAITING}
    code = """
import os, sys
sys.argv = ["vertebra", "--version"]
from vertebra.cli.main import main
try:
    main()
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"{spins} False"
