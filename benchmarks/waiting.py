"""How OpenMP's threads wait for work: what it costs alone, and beside other work on the same CPUs.

python -m benchmarks.waiting [--repeats N] [--threads N] [--out FILE]

PyTorch's threads (libgomp) spin while they wait, unless the environment forbids it before PyTorch is loaded. Where other work
is on the CPUs, a thread that spins keeps the one it waits for from running. Each way runs in processes of its own, in turns
with the others: some training steps of a small model, and predictions of single images. Shown are seconds and CPU seconds (user and
system), the median of the repeats; ``others`` is a process for each CPU that computes without end.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from benchmarks.report import Columns, Row, finish, options
from vertebra.cpus import usable_cpus

WAYS: Mapping[str, Mapping[str, str]] = {
    "as it is": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "spin 100000": {"GOMP_SPINCOUNT": "100000"},
}
"""By name, the environment."""

PREPARE = """
import resource, sys, time
import torch
import vertebra
threads, count = map(int, sys.argv[1:])
torch.set_num_threads(threads)
backbone = {"name": "resnet18", "pretrained": False}
model = vertebra.create_model(backbone, decoder="linear", classes=["a", "b"], image_size=(128, 128))
images = torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8)
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
"""
MEASURE = """
for _ in range(2):
    work()
wall, own = time.perf_counter(), cpu()
for _ in range(count):
    work()
print(time.perf_counter() - wall, cpu() - own)
"""
WORK = {
    "train": """
optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01)
def work():
    loss = model(images)["classify"].probabilities.square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    "predict": """
from vertebra.inference.engine import Engine
engine = Engine(model.eval(), device="cpu")
sizes = torch.tensor([[128, 128]])
def work():
    engine.compute(images[:1], sizes)
""",
}
COUNT = {"train": 10, "predict": 60}


@contextmanager
def others(count: int) -> Iterator[None]:
    """Processes that compute without end."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measured(work: str, way: str, threads: int, share: float = 1.0) -> tuple[float, float]:
    """Seconds and CPU seconds of some work, in a process of its own.

    Args:
        work: "train" or "predict".
        way: how threads wait.
        threads: of PyTorch.
        share: of the usual number of calls.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + WORK[work] + MEASURE, str(threads), str(max(1, int(COUNT[work] * share)))],
        env={**environment, **WAYS[way]},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu


def compare(repeats: int, threads: int, works: Sequence[str] = tuple(WORK), share: float = 1.0) -> list[Row]:
    """A row for each work and way, alone and beside others; ``times`` is the ratio of the seconds of "as it is" to the way's."""
    rows: list[Row] = []
    for work in works:
        for count in (0, usable_cpus()):
            found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
            with others(count):
                for _ in range(repeats):
                    for way in WAYS:
                        found[way].append(measured(work, way, threads, share))
            usual = statistics.median(wall for wall, _ in found["as it is"])
            for way, pairs in found.items():
                wall, cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
                row = {"name": work, "others": count, "waiting": way, "seconds": wall, "cpu_seconds": cpu}
                rows.append({**row, "times": usual / wall})
    return rows


COLUMNS: Columns = {
    "work": lambda row: row["name"],
    "other processes": lambda row: str(row["others"]),
    "waiting": lambda row: row["waiting"],
    "seconds": lambda row: f"{row['seconds']:.2f}",
    "CPU seconds": lambda row: f"{row['cpu_seconds']:.2f}",
    "times as fast": lambda row: f"{row['times']:.2f}",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    given = options(__doc__, repeats=5).parse_args(arguments)
    finish("waiting", compare(given.repeats, given.threads or usable_cpus()), COLUMNS, given)


if __name__ == "__main__":
    main()
