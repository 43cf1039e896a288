"""Metrics of points, by hand and beside pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import COCO_POINTS, KeypointLabels
from vertebra.tasks.keypoints.metrics import build_metric, object_lengths
from vertebra.tasks.keypoints.types import KeypointPrediction

FISH = KeypointLabels(("fish", "eel"), ("head", "middle", "tail"))


def truth(points: Any, labels: Any = (0,), crowd: Any = None, area: float = 100.0) -> KeypointAnnotation:
    array = np.asarray(points, dtype=np.float32)
    known = array[..., 2] > 0
    boxes = np.array(
        [[*a[k][:, :2].min(0), *a[k][:, :2].max(0)] if k.any() else [0] * 4 for a, k in zip(array, known, strict=True)]
    )
    flags = np.zeros(len(array), dtype=bool) if crowd is None else np.asarray(crowd)
    return KeypointAnnotation(array, boxes.astype(np.float32), np.asarray(labels), flags, np.full(len(array), area))


def found(points: Any, scores: Any = (0.9,), labels: Any = (0,), spec: KeypointLabels = FISH) -> KeypointPrediction:
    array = np.asarray(points, dtype=np.float32)
    boxes = np.concatenate([array.min(axis=1), array.max(axis=1)], axis=1)
    ones = np.ones(array.shape[:2], dtype=np.float32)
    return KeypointPrediction(array, ones, boxes, np.asarray(scores, dtype=np.float32), np.asarray(labels), spec)


def measured(
    pairs: list[tuple[KeypointPrediction, KeypointAnnotation]], labels: KeypointLabels = FISH
) -> dict[str, float]:
    metric = build_metric(labels)
    for prediction, annotation in pairs:
        metric.update([prediction], [annotation])
    return metric.compute()


def test_by_hand() -> None:
    """A fish of length 100: the head is exact, the middle 4 pixels off, the tail 6 (more than 5 %)."""
    true = truth([[[0, 0, 2], [50, 0, 1], [100, 0, 2]]])
    got = measured([(found([[[0, 0], [50, 4], [100, 6]]]), true)])
    assert got["pck"] == pytest.approx(2 / 3)
    assert got["error"] == pytest.approx(10 / 3) and got["nme"] == pytest.approx(10 / 300)
    assert (got["pck/head"], got["pck/tail"], got["error/middle"]) == (1, 0, 4)


def test_points_that_are_not_labelled_do_not_count() -> None:
    true = truth([[[0, 0, 2], [0, 0, 0], [100, 0, 2]]])
    got = measured([(found([[[0, 0], [999, 999], [100, 3]]]), true)])
    assert got["pck"] == 1 and got["error"] == pytest.approx(1.5) and "pck/middle" not in got


def test_each_found_object_is_compared_once_the_best_first_and_of_its_class() -> None:
    fish, eel = [[0, 0, 2], [50, 0, 2], [100, 0, 2]], [[0, 50, 2], [50, 50, 2], [100, 50, 2]]
    true = truth([fish, eel], labels=[0, 1])
    points = np.asarray([fish, fish, eel], dtype=float)[..., :2] + [[[0, 1]], [[0, 0]], [[0, 2]]]
    got = measured([(found(points, scores=[0.9, 0.8, 0.7], labels=[0, 0, 1]), true)])
    assert got["pck"] == 1 and got["error"] == pytest.approx((1 * 3 + 2 * 3) / 6)
    wrong = measured([(found(points[:1], labels=[1]), true)])
    assert wrong["pck"] == 0, "an eel where the fish is finds neither"
    assert measured([(found(np.zeros((0, 3, 2)), scores=[], labels=[]), true)])["pck"] == 0


def test_crowds_and_objects_without_points_are_passed_over() -> None:
    true = truth([[[0, 0, 2], [50, 0, 2], [100, 0, 2]], [[0, 0, 0]] * 3], labels=[0, 0], crowd=[True, False])
    assert "pck" not in measured([(found([[[0, 0], [0, 0], [0, 0]]]), true)])


def test_lengths() -> None:
    points = np.array([[[0, 0, 2], [3, 4, 1], [100, 0, 0]], [[5, 5, 2], [0, 0, 0], [0, 0, 0]]], dtype=float)
    boxes = np.array([[0, 0, 30, 4], [0, 0, 10, 20]], dtype=float)
    assert object_lengths(points, boxes).tolist() == [5, 20]


def test_average_precision_equals_pycocotools() -> None:
    coco_api = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    labels = KeypointLabels(("person",), COCO_POINTS)
    draw = np.random.default_rng(3)
    metric = build_metric(labels)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, 13):
        count = int(draw.integers(1, 5))
        points = draw.uniform(0, 200, (count, 17, 3))
        points[..., 2] = draw.integers(0, 3, (count, 17))
        points[0, :, 2] = 0 if image % 4 == 0 else points[0, :, 2]
        crowd = draw.random(count) < 0.2
        areas = draw.uniform(500, 20000, count)
        true = KeypointAnnotation(
            points.astype(np.float32),
            np.tile(np.array([[0, 0, 200, 200]], dtype=np.float32), (count, 1)),
            np.zeros(count, dtype=np.int64),
            crowd,
            areas,
        )
        kept = draw.random(count) < 0.9
        moved = points[kept][..., :2] + draw.normal(0, 8, (int(kept.sum()), 17, 2))
        scores = draw.random(len(moved))
        metric.update([found(moved, scores, np.zeros(len(moved), dtype=np.int64), labels)], [true])
        for place in range(count):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "iscrowd": int(crowd[place]),
                    "area": float(areas[place]),
                    "bbox": [0, 0, 200, 200],
                    "keypoints": true.points[place].astype(float).reshape(-1).tolist(),
                    "num_keypoints": int((points[place, :, 2] > 0).sum()),
                }
            )
        for row, score in zip(moved.astype(np.float32), scores.astype(np.float32), strict=True):
            whole = np.concatenate([row.astype(float), np.ones((17, 1))], axis=1).reshape(-1).tolist()
            results.append({"image_id": image, "category_id": 1, "keypoints": whole, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_api.COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(1, 13)],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": annotations,
        }
        coco.createIndex()
        theirs = COCOeval(coco, coco.loadRes(results), "keypoints")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    ours = metric.compute()
    keys = ("oks_map", "oks_map_50", "oks_map_75", "oks_map_medium", "oks_map_large", "oks_mar")
    assert 0.1 < ours["oks_map"] < 0.9
    for key, value in zip(keys, theirs.stats, strict=False):
        assert ours[key] == pytest.approx(value, abs=1e-6), key
