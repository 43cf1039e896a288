"""Metrics of the detect task, against pycocotools."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.metrics import build_metric
from vertebra.tasks.detect.types import DetectPrediction

LABELS = DetectLabels(("zebra", "ant", "bear"))


def _boxes(draw: np.random.Generator, count: int) -> np.ndarray:
    corner = draw.uniform(0, 300, (count, 2))
    return np.concatenate([corner, corner + draw.uniform(4, 200, (count, 2))], axis=1).astype(np.float32)


def _scene(draw: np.random.Generator, objects: int, extra: int) -> tuple[DetectPrediction, DetectAnnotation]:
    """Truth with crowds, and predictions near it and anywhere; class 2 is never true."""
    boxes = _boxes(draw, objects)
    labels = draw.integers(0, 2, objects)
    found = draw.random(objects) < 0.8
    near = boxes[found] + draw.normal(0, 4, (found.sum(), 4)).astype(np.float32)
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    all_boxes = np.concatenate([near, _boxes(draw, extra)])
    all_labels = np.concatenate([labels[found], draw.integers(0, 3, extra)])
    scores = draw.random(len(all_boxes)).astype(np.float32).round(2)  # with ties
    return (
        DetectPrediction(all_boxes, scores, all_labels, LABELS),
        DetectAnnotation(boxes, labels, draw.random(objects) < 0.2),
    )


def _pycocotools(predictions: list[DetectPrediction], ground_truths: list[DetectAnnotation]) -> dict[str, float]:
    ground_truth = COCO()
    annotations = []
    for image_id, annotation in enumerate(ground_truths):
        for box, label, crowd in zip(annotation.boxes.astype(float), annotation.labels, annotation.crowd, strict=True):
            x, y, w, h = (float(v) for v in (*box[:2], *(box[2:] - box[:2])))
            fields = {"image_id": image_id, "category_id": int(label), "bbox": [x, y, w, h], "area": w * h}
            annotations.append({"id": len(annotations) + 1, "iscrowd": int(crowd), **fields})
    ground_truth.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(len(ground_truths))],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(LABELS.classes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth.createIndex()
        results = ground_truth.loadRes([row for i, p in enumerate(predictions) for row in p.to_coco(i)])
        coco = COCOeval(ground_truth, results, "bbox")
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "", "", "mar_100")
    metrics = {name: float(value) for name, value in zip(names, coco.stats, strict=False) if name and value > -1}
    for k, name in enumerate(LABELS.classes):
        precision = coco.eval["precision"][:, :, k, 0, -1]
        if (precision > -1).any():
            metrics[f"map/{name}"] = float(precision[precision > -1].mean())
    return metrics


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_to_pycocotools(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(seed)
    sizes = [(6, 8), (0, 5), (4, 0), (0, 0), (1, 1), (30, 120), (12, 3), (5, 5)]
    scenes = [_scene(draw, objects, extra) for objects, extra in sizes]
    nothing = np.zeros(0, dtype=np.float32)
    scenes.append(
        (
            DetectPrediction(np.zeros((0, 4), np.float32), nothing, nothing.astype(np.int64), LABELS),
            _scene(draw, 3, 0)[1],
        )
    )
    metric = build_metric(LABELS)
    for start in range(0, len(scenes), 4):
        batch = scenes[start : start + 4]
        metric.update([scene[0] for scene in batch], [scene[1] for scene in batch])
    metrics = metric.compute()
    assert "map/bear" not in metrics and 0.05 < metrics["map"] < 0.95
    assert metrics == pytest.approx(_pycocotools(*zip(*scenes, strict=True)), abs=1e-6)
    assert capfd.readouterr() == ("", "")


def _one(box: tuple[float, ...], label: int, score: float) -> DetectPrediction:
    return DetectPrediction(np.asarray([box], np.float32), np.asarray([score]), np.asarray([label]), LABELS)


def _true(boxes: list[tuple[float, ...]], labels: list[int], crowd: list[bool]) -> DetectAnnotation:
    return DetectAnnotation(np.asarray(boxes, np.float32), np.asarray(labels), np.asarray(crowd))


def test_by_hand() -> None:
    metric = build_metric(LABELS)
    # IoU 0.8 passes 7 of the 10 thresholds 0.50, 0.55 ... 0.95
    metric.update([_one((0, 0, 100, 80), 1, 0.9)], [_true([(0, 0, 100, 100)], [1], [False])])
    metrics = metric.compute()
    assert metrics == pytest.approx(
        {"map": 0.7, "map_50": 1, "map_75": 1, "mar_100": 0.7, "map_large": 0.7, "map/ant": 0.7}
    )


def test_what_lies_in_a_crowd_is_no_mistake() -> None:
    in_crowd, object_found = _one((60, 0, 90, 40), 0, 0.95), _one((0, 0, 40, 40), 0, 0.9)
    both = DetectPrediction(
        np.concatenate([in_crowd.boxes, object_found.boxes]), np.asarray([0.95, 0.9]), np.asarray([0, 0]), LABELS
    )
    boxes = [(0, 0, 40, 40), (50, 0, 150, 100)]
    for crowd, wanted in ((True, 1.0), (False, 0.25 * 51 / 50)):
        metric = build_metric(LABELS)
        metric.update([both], [_true(boxes, [0, 0], [False, crowd])])
        assert metric.compute()["map"] == pytest.approx(wanted, abs=0.01)


def test_without_any_object_there_is_no_precision() -> None:
    metric = build_metric(LABELS)
    nothing = DetectAnnotation(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    metric.update([_one((0, 0, 9, 9), 0, 0.5)], [nothing])
    assert metric.compute() == {}
    nobody = DetectPrediction(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, np.int64), LABELS)
    metric.reset()
    metric.update([nobody], [nothing])
    assert metric.compute() == {}
    metric.reset()
    metric.update([nobody], [_true([(0, 0, 100, 100)], [1], [False])])
    assert metric.compute() == {"map": 0, "map_50": 0, "map_75": 0, "mar_100": 0, "map_large": 0, "map/ant": 0}


def test_a_test_split_is_computed_at_once() -> None:
    draw = np.random.default_rng(0)
    scenes = [_scene(draw, 15, 88) for _ in range(72)]
    metric = build_metric(LABELS)
    begin = time.perf_counter()
    metric.update([scene[0] for scene in scenes], [scene[1] for scene in scenes])
    metric.compute()
    assert time.perf_counter() - begin < 2
