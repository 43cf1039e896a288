"""Metrics gathered over processes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from vertebra.tasks import TASKS

# Each of two processes writes what it computes: where process 0 saw all images and process 1 none, where both saw some,
# and where each saw all alone, before they were joined.
_WORKER = """
import json, sys
import numpy as np
import torch
import torch.distributed as dist
from vertebra.annotations.run_lengths import Region
from vertebra.tasks import TASKS
from vertebra.geometry.rectangles import hulls, upright_corners
from vertebra.tasks.instances.types import region_array
from vertebra.tasks.detect.annotation import DetectAnnotation

torch.set_num_threads(1)
rank, port = (int(value) for value in sys.argv[1:])

def samples(name, labels):
    draw = np.random.default_rng(0)
    task, count = TASKS[name], 5
    for index in range(count):
        if name == "classify":
            truth = int(draw.integers(3)) if not labels.multilabel else draw.integers(0, 2, 3)
            yield task.prediction(draw.dirichlet(np.ones(3)).astype(np.float32), labels), task.annotation(truth)
        elif name == "detect":
            boxes = (draw.uniform(0, 50, (index, 4)) + [0, 0, 60, 60]).astype(np.float32)
            ids, crowd = draw.integers(0, 3, index), np.zeros(index, dtype=bool)
            moved = boxes + draw.normal(0, 3, boxes.shape).astype(np.float32)
            scores = draw.random(index).astype(np.float32)
            yield task.prediction(moved, scores, ids, labels), task.annotation(boxes, ids, crowd)
        elif name == "keypoints":
            points = draw.uniform(0, 50, (index, 2, 2)).astype(np.float32)
            true = np.concatenate([points, np.full((index, 2, 1), 2)], axis=-1).astype(np.float32)
            boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
            ids, crowd = draw.integers(0, 3, index), np.zeros(index, dtype=bool)
            moved = points + draw.normal(0, 1, points.shape).astype(np.float32)
            scores = draw.random(index).astype(np.float32)
            areas = np.full(index, 900, dtype=np.float32)
            found = task.prediction(moved, np.ones((index, 2), dtype=np.float32), boxes, scores, ids, labels)
            yield found, task.annotation(true, boxes, ids, crowd, areas)
        elif name == "box_attributes":
            boxes = (draw.uniform(0, 50, (index, 4)) + [0, 0, 60, 60]).astype(np.float32)
            ids, crowd = np.zeros(index, dtype=np.int64), np.zeros(index, dtype=bool)
            shape = (index, 3) if labels.multilabel else (index,)
            values = draw.integers(0, 2 if labels.multilabel else 3, shape)
            scores = draw.random(index).astype(np.float32)
            probabilities = draw.dirichlet(np.ones(3), index).astype(np.float32).reshape(index, 3)
            objects = DetectAnnotation(boxes, ids, crowd)
            yield task.prediction(boxes, scores, ids, probabilities, labels), task.annotation(objects, values)
        elif name == "instances":
            rles = [Region.of_box((5 * row, 5, 5 * row + draw.integers(8, 20), 30), (40, 60)) for row in range(index)]
            moved = [Region.of_box((5 * row, 5, 5 * row + draw.integers(8, 20), 30), (40, 60)) for row in range(index)]
            boxes, scores = draw.uniform(0, 30, (index, 4)).astype(np.float32), draw.random(index).astype(np.float32)
            ids, crowd = draw.integers(0, 3, index), np.zeros(index, dtype=bool)
            found = task.prediction(region_array(moved), boxes, scores, ids, (40, 60), labels)
            yield found, task.annotation(tuple(rles), boxes, ids, crowd, (40, 60))
        elif name == "rotated_boxes":
            corners = upright_corners(draw.uniform(0, 50, (index, 4)) + [0, 0, 60, 60]).astype(np.float32)
            moved = corners + draw.normal(0, 3, (index, 1, 2)).astype(np.float32)
            ids, crowd, scores = draw.integers(0, 3, index), np.zeros(index, dtype=bool), draw.random(index)
            found = task.prediction(moved, hulls(moved), scores.astype(np.float32), ids, labels)
            yield found, task.annotation(corners, ids, crowd)
        else:
            shape = (4, 5) if not labels.multilabel else (3, 4, 5)
            high = 3 if not labels.multilabel else 2
            yield task.prediction(draw.integers(0, high, shape), labels), task.annotation(draw.integers(0, high, shape))

def compute(case):
    for name, task in TASKS.items():
        every_options = {"detect": ({},), "instances": ({},), "rotated_boxes": ({},)}
        every_options["keypoints"] = ({"points": ("p", "q")},)
        for options in every_options.get(name, ({"multilabel": False}, {"multilabel": True})):
            labels = task.labels(("a", "b", "c"), **options)
            every = list(samples(name, labels))
            metric = task.metric(labels)
            mine = {"alone": every, "one": (every, [])[rank], "both": (every[:-1], every[-1:])[rank]}[case]
            for prediction, truth in mine:
                metric.update([prediction], [truth])
            yield f"{name} {options}", metric.compute()
            assert set(metric.compute()) <= set(metric.names()), name

found = {"alone": dict(compute("alone"))}
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
found |= {case: dict(compute(case)) for case in ("one", "both")}
dist.destroy_process_group()
print(json.dumps(found))
"""


def test_all_processes_compute_what_one_would(unused_tcp_port: int) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(rank), str(unused_tcp_port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        found = json.loads(out.splitlines()[-1])
        assert len(found["alone"]) == 10 and all(found["alone"].values())
        for name, metrics in found["alone"].items():
            for case in ("one", "both"):
                assert found[case][name] == pytest.approx(metrics), (name, case)


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_metrics_know_their_direction() -> None:
    points = TASKS["keypoints"].metric(TASKS["keypoints"].labels(("a",), points=("p", "q"))).directions()
    lower = {name for name, smaller in points.items() if smaller}
    assert lower == {"nme", "nme/p", "nme/q", "error", "error/p", "error/q"}
    for name, task in TASKS.items():
        labels = task.labels(("a", "b"), **({"points": ("p",)} if name == "keypoints" else {}))
        assert task.metric(labels).directions()[task.monitor] is False
