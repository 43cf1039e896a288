"""The tasks by name, and what they load."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vertebra.errors import UnknownName
from vertebra.tasks import TASKS, get_task

_DRAW_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # an import of torch now fails
import numpy as np
from vertebra.tasks import TASKS
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.segment.types import SegmentPrediction
image = np.zeros((40, 60, 3), dtype=np.uint8)
classes = ("dog", "cat")
own = {"keypoints": {"points": ("nose", "tail"), "skeleton": ((0, 1),)}}
labels = {name: task.labels(classes, **own.get(name, {})) for name, task in TASKS.items()}
ClassifyPrediction(np.asarray([0.2, 0.8], dtype=np.float32), labels["classify"], image).draw()
boxes = np.asarray([[3, 4, 20, 30]], dtype=np.float32)
DetectPrediction(boxes, np.asarray([0.9]), np.asarray([1]), labels["detect"], image).draw()
SegmentPrediction(np.eye(40, 60, dtype=np.uint8), labels["segment"], image=image).draw()
from vertebra.annotations.run_lengths import Region
from vertebra.tasks.instances.types import InstancePrediction, region_array
regions = region_array([Region.of_box(boxes[0], (40, 60))])
InstancePrediction(regions, boxes, np.asarray([0.9]), np.asarray([1]), (40, 60), labels["instances"], image).draw()
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction
turned = np.asarray([[[10, 5], [20, 15], [15, 20], [5, 10]]], dtype=np.float32)
RotatedBoxPrediction(turned, boxes, np.asarray([0.9]), np.asarray([1]), labels["rotated_boxes"], image).draw()
points = np.asarray([[[5, 5], [15, 20]]], dtype=np.float32)
found = TASKS["keypoints"].prediction
found(points, np.ones((1, 2)), boxes, np.asarray([0.9]), np.asarray([1]), labels["keypoints"], image).draw()
"""
OWN = {"keypoints": {"points": ("nose", "tail")}}


def test_pictures_need_no_torch() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", _DRAW_WITHOUT_TORCH], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_belongs_together(name: str) -> None:
    task = get_task(name)
    assert task.name == name
    labels = task.labels(("dog", "cat"), **OWN.get(name, {}))
    metric = task.metric(labels)
    assert metric.compute() == {}
    for kind in (task.labels, task.annotation, task.prediction):
        assert kind.__module__.startswith(f"vertebra.tasks.{name}.")


def test_an_unknown_task_gives_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown task 'detection'\. Did you mean 'detect'\?"):
        get_task("detection")
