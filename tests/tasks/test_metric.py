"""Metrics gathered over processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Process 0 sees all images but the last, process 1 the last, process 2 none; each writes what it computes.
_WORKER = """
import json, sys
import numpy as np
import torch
import torch.distributed as dist
from vertebra.tasks import TASKS

torch.set_num_threads(1)
rank, world, port = (int(value) for value in sys.argv[1:])
if world > 1:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)

def samples(name, labels):
    draw = np.random.default_rng(0)
    task, count = TASKS[name], 5
    for index in range(count):
        if name == "classify":
            truth = int(draw.integers(3)) if labels.exclusive else draw.integers(0, 2, 3)
            yield task.prediction(draw.dirichlet(np.ones(3)).astype(np.float32), labels), task.annotation(truth)
        elif name == "detect":
            boxes = (draw.uniform(0, 50, (index, 4)) + [0, 0, 60, 60]).astype(np.float32)
            ids, crowd = draw.integers(0, 3, index), np.zeros(index, dtype=bool)
            moved = boxes + draw.normal(0, 3, boxes.shape).astype(np.float32)
            scores = draw.random(index).astype(np.float32)
            yield task.prediction(moved, scores, ids, labels), task.annotation(boxes, ids, crowd)
        else:
            shape = (4, 5) if labels.exclusive else (3, 4, 5)
            high = 3 if labels.exclusive else 2
            yield task.prediction(draw.integers(0, high, shape), labels), task.annotation(draw.integers(0, high, shape))

found = {}
for name, task in TASKS.items():
    for options in ({},) if name == "detect" else ({"exclusive": True}, {"exclusive": False}):
        labels = task.labels(("a", "b", "c"), **options)
        metric = task.metric(labels)
        mine = list(samples(name, labels))
        if world > 1:
            mine = (mine[:-1], mine[-1:], [])[rank]
        for prediction, truth in mine:
            metric.update([prediction], [truth])
        found[f"{name} {options}"] = metric.compute()
print(json.dumps(found))
"""


def _found(rank: int, world: int, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WORKER, str(rank), str(world), str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_all_processes_compute_what_one_would(unused_tcp_port: int) -> None:
    processes = [_found(0, 1, 0), *(_found(rank, 3, unused_tcp_port) for rank in range(3))]
    answers = []
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        answers.append(json.loads(out.splitlines()[-1]))
    alone, *together = answers
    assert len(alone) == 5 and all(alone.values())
    for answer in together:
        for name, metrics in alone.items():
            assert answer[name] == pytest.approx(metrics), name


@pytest.fixture
def unused_tcp_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
