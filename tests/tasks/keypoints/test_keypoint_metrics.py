"""Metrics of points, by hand and beside pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.distances import lengths_of
from vertebra.tasks.keypoints.labels import COCO_POINTS, KeypointLabels
from vertebra.tasks.keypoints.metrics import PointMetric
from vertebra.tasks.keypoints.types import KeypointPrediction

FISH = KeypointLabels(("fish", "eel"), ("head", "middle", "tail"))
WIDE = KeypointLabels(("fish", "eel"), ("head", "middle", "tail"), sigmas=(0.3, 0.3, 0.3))


def ground_truth(points: Any, labels: Any = (0,), crowd: Any = None, area: float = 100.0) -> KeypointAnnotation:
    """Objects whose boxes are the extents of their points, in an image 300 wide."""
    array = np.asarray(points, dtype=np.float32)
    known = array[..., 2] > 0
    boxes = np.array(
        [[*a[k][:, :2].min(0), *a[k][:, :2].max(0)] if k.any() else [0] * 4 for a, k in zip(array, known, strict=True)]
    )
    flags = np.zeros(len(array), dtype=bool) if crowd is None else np.asarray(crowd)
    areas = np.full(len(array), area, dtype=np.float32)
    return KeypointAnnotation(array, boxes.astype(np.float32), np.asarray(labels), flags, areas, (200, 300))


def found(points: Any, scores: Any = (0.9,), labels: Any = (0,), spec: KeypointLabels = FISH) -> KeypointPrediction:
    array = np.asarray(points, dtype=np.float32)
    boxes = np.concatenate([array.min(axis=1), array.max(axis=1)], axis=1)
    ones = np.ones(array.shape[:2], dtype=np.float32)
    return KeypointPrediction(array, ones, boxes, np.asarray(scores, dtype=np.float32), np.asarray(labels), spec)


def measured(
    pairs: list[tuple[KeypointPrediction, KeypointAnnotation]], labels: KeypointLabels = FISH, **options: Any
) -> dict[str, float]:
    metric = PointMetric(labels, **options)
    for prediction, annotation in pairs:
        metric.update([prediction], [annotation])
    return metric.compute()


def test_by_hand() -> None:
    """A fish of length 100: the head is exact, the middle 4 pixels off, the tail 6 (more than 5 %)."""
    true = ground_truth([[[0, 0, 2], [50, 0, 1], [100, 0, 2]]])
    got = measured([(found([[[0, 0], [50, 4], [100, 6]]]), true)])
    assert got["pck"] == pytest.approx(2 / 3)
    assert got["error"] == pytest.approx(10 / 3) and got["nme"] == pytest.approx(10 / 300)
    assert (got["pck/head"], got["pck/tail"], got["error/middle"]) == (1, 0, 4)
    assert got["nme/tail"] == pytest.approx(0.06)


def test_share_and_length_are_options() -> None:
    """The image is 300 long, so that 5 % of it are 15 pixels, and 1 % are 3."""
    pair = (found([[[0, 0], [50, 4], [100, 6]]]), ground_truth([[[0, 0, 2], [50, 0, 1], [100, 0, 2]]]))
    assert measured([pair], share=0.06)["pck"] == 1
    whole = measured([pair], length="image")
    assert whole["pck"] == 1 and whole["nme"] == pytest.approx(10 / 900) and whole["error"] == pytest.approx(10 / 3)
    assert measured([pair], length="image", share=0.01)["pck"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="but the annotation has none"):
        measured([(pair[0], replace(pair[1], size=(0, 0)))], length="image")


def test_similarity_by_hand() -> None:
    """Sigma 0.05 makes the variance (2 sigma)^2 = 0.01. A fish of area 10000 whose three points are 10 pixels off each: the
    similarity is exp(-100 / (2 * 10000 * 0.01)) = exp(-0.5) = 0.607, right at the thresholds 0.5, 0.55 and 0.6 of ten."""
    true = ground_truth([[[0, 0, 2], [50, 0, 2], [100, 0, 2]]], area=10000.0)
    got = measured([(found([[[0, 10], [50, 10], [100, 10]]]), true)])
    assert got["oks_map"] == pytest.approx(0.3) and got["oks_map/fish"] == got["oks_map"] == got["oks_mar"]
    assert got["oks_map_50"] == 1 and got["oks_map_75"] == 0
    assert got["oks_map_large"] == got["oks_map"] and "oks_map_medium" not in got and "oks_map/eel" not in got
    wide = measured([(found([[[0, 10], [50, 10], [100, 10]]], spec=WIDE), true)], WIDE)
    assert wide["oks_map"] == 1, "six times the sigma: exp(-0.5 / 36) = 0.986, above all thresholds"


def test_nothing_found() -> None:
    true = ground_truth([[[0, 0, 2], [50, 0, 2], [100, 0, 2]]], area=2000.0)
    got = measured([(found(np.zeros((0, 3, 2)), scores=[], labels=[]), true)])
    assert got["oks_map"] == got["oks_map_medium"] == got["oks_mar"] == 0 and "oks_map_large" not in got
    assert got["pck"] == 0 and "error" not in got and "nme" not in got


def test_points_that_are_not_labeled_do_not_count() -> None:
    true = ground_truth([[[0, 0, 2], [0, 0, 0], [100, 0, 2]]])
    got = measured([(found([[[0, 0], [999, 999], [100, 3]]]), true)])
    assert got["pck"] == 1 and got["error"] == pytest.approx(1.5) and "pck/middle" not in got


def test_each_found_object_is_compared_once_the_best_first_and_of_its_class() -> None:
    fish, eel = [[0, 0, 2], [50, 0, 2], [100, 0, 2]], [[0, 50, 2], [50, 50, 2], [100, 50, 2]]
    true = ground_truth([fish, eel], labels=[0, 1])
    points = np.asarray([fish, fish, eel], dtype=float)[..., :2] + [[[0, 1]], [[0, 0]], [[0, 2]]]
    got = measured([(found(points, scores=[0.9, 0.8, 0.7], labels=[0, 0, 1]), true)])
    assert got["pck"] == 1 and got["error"] == pytest.approx((1 * 3 + 2 * 3) / 6)
    wrong = measured([(found(points[:1], labels=[1]), true)])
    assert wrong["pck"] == 0, "an eel where the fish is finds neither"
    assert measured([(found(np.zeros((0, 3, 2)), scores=[], labels=[]), true)])["pck"] == 0


def test_crowds_and_objects_without_points_are_passed_over() -> None:
    true = ground_truth([[[0, 0, 2], [50, 0, 2], [100, 0, 2]], [[0, 0, 0]] * 3], labels=[0, 0], crowd=[True, False])
    assert measured([(found([[[0, 0], [0, 0], [0, 0]]]), true)]) == {}


def test_lengths() -> None:
    annotation = replace(
        ground_truth([[[0, 0, 2], [3, 4, 1], [7, 0, 0]]]), boxes=np.array([[1, 2, 31, 6]], dtype=np.float32)
    )
    assert lengths_of(annotation, "box").tolist() == [30] and lengths_of(annotation, "image").tolist() == [300]


def test_average_precision_equals_pycocotools() -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    labels = KeypointLabels(("person",), COCO_POINTS)
    draw = np.random.default_rng(3)
    metric = PointMetric(labels)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, 13):
        count = int(draw.integers(1, 5))
        points = draw.uniform(0, 200, (count, 17, 3))
        points[..., 2] = draw.integers(0, 3, (count, 17))
        points[0, :, 2] = 0 if image % 4 == 0 else points[0, :, 2]
        crowd = draw.random(count) < 0.2
        areas = draw.uniform(500, 20000, count).astype(np.float32)
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
    truth_file = {
        "images": [{"id": number} for number in range(1, 13)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    equal_to_pycocotools(metric.compute(), truth_file, results)


def equal_to_pycocotools(ours: dict[str, float], truth_file: dict[str, Any], results: list[dict[str, Any]]) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth_file
        coco.createIndex()
        theirs = COCOeval(coco, coco.loadRes(results), "keypoints")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    keys = ("oks_map", "oks_map_50", "oks_map_75", "oks_map_medium", "oks_map_large", "oks_mar")
    assert 0.1 < ours["oks_map"] < 0.9
    for key, value in zip(keys, theirs.stats, strict=False):
        assert ours[key] == pytest.approx(value, abs=1e-6), key


def test_real_people_are_measured_as_pycocotools_measures_their_file(assets: Path) -> None:
    """From the file through the reader to the metric: crowds, persons without points, and several guesses for them."""
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from vertebra.data.open import open_data

    file = assets / "keypoints" / "coco_tiny" / "test_coco.json"
    raw = json.loads(file.read_text())
    parts = [open_data(file, "keypoints", split) for split in ("train", "val", "test")]
    labels = parts[0].labels["keypoints"]
    assert isinstance(labels, KeypointLabels)
    ids = {one["file_name"]: one["id"] for one in raw["images"]}
    sizes = {one["file_name"]: (one["height"], one["width"]) for one in raw["images"]}
    metric = PointMetric(labels)
    draw = np.random.default_rng(1)
    results: list[dict[str, Any]] = []
    assert any(one["num_keypoints"] == 0 for one in raw["annotations"])
    for index, row in [(part, row) for part in parts for row in range(len(part))]:
        name = index.path(row).name
        true = index.columns["keypoints"].get(row, sizes[name])
        guesses = np.concatenate([true.points[..., :2]] * 3)
        bare = np.tile(~true.known, 3)
        middle = true.boxes.reshape(-1, 2, 2).mean(axis=1)
        guesses[bare] = np.tile(middle, (3, 1))[bare][:, None]
        guesses = guesses + draw.normal(0, 6, guesses.shape).astype(np.float32)
        prediction = found(guesses, draw.random(len(guesses)), np.zeros(len(guesses), dtype=np.int64), labels)
        metric.update([prediction], [true])
        results += prediction.to_coco(ids[name], [1])
    equal_to_pycocotools(metric.compute(), raw, results)
