"""Predictions of rotated boxes: from decoded arrays, merged from tiles, views and crops, measured and written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.geometry.test_rectangles import one, turned
from vertebra.geometry.rectangles import hulls, rotated_iou, upright_corners
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.tiles import grid
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks import get_task
from vertebra.tasks.crops import Crops
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction

TASK = get_task("rotated_boxes")
LABELS = RotatedBoxLabels(("zebra", "ant", "bear"))
SIZE = (60, 80)


def predicted(corners: Any, scores: list[float], ids: list[int], **changes: Any) -> RotatedBoxPrediction:
    stacked = np.asarray(corners, dtype=np.float32).reshape(-1, 4, 2)
    values = np.array(scores, dtype=np.float32), np.array(ids, dtype=np.int64)
    return RotatedBoxPrediction(stacked, hulls(stacked), *values, LABELS, **changes)


def annotated(corners: Any, ids: list[int], crowd: list[bool] | None = None) -> RotatedBoxAnnotation:
    stacked = np.asarray(corners, dtype=np.float32).reshape(-1, 4, 2)
    flags = np.array(crowd or [False] * len(ids), dtype=bool)
    return RotatedBoxAnnotation(stacked, np.array(ids, dtype=np.int64), flags)


def decoded(corners: Any, scores: list[float], ids: list[int] | None = None) -> list[np.ndarray]:
    """Arrays as a decoder gives them, with a row of padding."""
    count = len(scores)
    stacked = np.concatenate([np.asarray(corners, dtype=np.float32).reshape(-1, 4, 2), np.zeros((1, 4, 2), np.float32)])
    labels = [1] * count if ids is None else ids
    return [stacked, hulls(stacked), np.array([*scores, 0], np.float32), np.array([*labels, -1]), np.array(count)]


def measured(prediction: Any, truth: Any, task: str = "rotated_boxes", labels: Any = LABELS) -> dict[str, float]:
    metric = get_task(task).metric(labels)
    metric.update(prediction, truth)
    result: dict[str, float] = metric.compute()
    return result


def test_from_decoded_in_pixels_of_the_image() -> None:
    transform = ResizeSpec((120, 120)).transform(*SIZE)  # 1.5 canvas pixels per image pixel
    arrays = decoded([one(60, 45, 30, 12, 30), one(60, 110, 30, 12, 30)], [0.9, 0.6])
    prediction: Any = TASK.from_decoded(arrays, transform, LABELS, None)
    assert prediction.scores.tolist() == pytest.approx([0.9]), "the second one lies on the padding"
    np.testing.assert_allclose(prediction.corners[0], one(40, 30, 20, 8, 30), atol=1e-4)
    assert prediction.angles.tolist() == pytest.approx([30], abs=1e-3)
    assert prediction.sides[0].tolist() == pytest.approx([20, 8], abs=1e-4)
    stretched = ResizeSpec((60, 160), "resize").transform(*SIZE)
    wide: Any = TASK.from_decoded(decoded([one(80, 30, 20, 20, 45)], [0.9]), stretched, LABELS, None)
    first, second = np.diff(wide.corners[0], axis=0)[:2]
    assert abs(first @ second) < 1e-3


def test_the_forms_of_a_prediction() -> None:
    prediction = predicted(
        [one(40, 30, 20, 8, 30), one(20, 20, 8, 8, 0)], [0.9, 0.2], [2, 0], image=Image.new("RGB", (80, 60))
    )
    entry = json.loads(json.dumps(prediction.to_dict()))["objects"][0]
    assert entry["class_name"] == "bear" and entry["angle"] == pytest.approx(30, abs=1e-3)
    np.testing.assert_allclose(entry["corners"], prediction.corners[0])
    coco = prediction.to_coco(7)[0]
    assert coco["segmentation"] == [pytest.approx(prediction.corners[0].reshape(-1).tolist())]
    assert len(coco["bbox"]) == 4
    upright = np.array([[0, 0], [1e-7, 20], [-5, 20], [-5, 0]])
    assert predicted([upright], [0.9], [0]).angles.tolist() == [-90], "rounded to float32, not 90"
    assert repr(prediction) == "2 rotated boxes: bear 0.90, zebra 0.20"
    assert prediction[0].corners.shape == (1, 4, 2) and len(prediction.filter(min_score=0.5)) == 1
    picture = np.asarray(prediction.draw())
    bare = np.asarray(predicted([], [], [], image=prediction.image).draw())
    assert picture.shape == bare.shape and (picture != bare).any()
    supervision = pytest.importorskip("supervision")
    assert isinstance(prediction.to_supervision(), supervision.Detections)
    with pytest.raises(ValueError, match="must be"):
        RotatedBoxPrediction(prediction.corners[:1], prediction.boxes, prediction.scores, prediction.class_ids, LABELS)


def test_average_precision_by_hand() -> None:
    truth = annotated([one(40, 30, 40, 10, 40), one(20, 40, 20, 5, -10)], [0, 1])
    exact = measured([predicted(truth.corners, [0.9, 0.8], [0, 1])], [truth])
    assert exact["map"] == pytest.approx(1) and exact["mar_100"] == pytest.approx(1)
    # a box of half the width overlaps by 0.5, one shifted along by a fifth of its length by 0.8 / 1.2
    half = predicted([one(40, 30, 40, 5.001, 40)], [0.9], [0])
    assert measured([half], [truth])["map_50"] == pytest.approx(0.5) and measured([half], [truth])["map_75"] == 0
    shift = 8 * np.array([np.cos(np.radians(40)), np.sin(np.radians(40))])
    moved = predicted([one(*(np.array([40, 30]) + shift), 40, 10, 40), one(20, 40, 20, 5, -10)], [0.9, 0.8], [0, 1])
    # class zebra: right at IoU 0.50 to 0.65 of ten thresholds; class ant always
    assert measured([moved], [truth])["map"] == pytest.approx((0.4 + 1) / 2)
    # turned by a right angle the upright boxes of a diagonal bar are the same, the rotated ones are not
    crossed = predicted([one(40, 30, 40, 10, 45)], [0.9], [0])
    assert measured([crossed], [annotated([one(40, 30, 40, 10, -45)], [0])])["map_50"] == 0


def test_upright_boxes_have_the_metrics_of_the_detect_task() -> None:
    draw = np.random.default_rng(0)
    labels = DetectLabels(LABELS.classes)
    plain: tuple[list[Any], list[Any]] = ([], [])
    rotated: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(6):
        start = draw.uniform(0, 60, (12, 2))
        true = np.concatenate([start, start + draw.uniform(4, 110, (12, 2))], axis=1).astype(np.float32)
        ids, crowd = draw.integers(0, 3, 12), draw.random(12) < 0.2
        boxes = np.concatenate([true + draw.normal(0, 3, true.shape), true[:4] + 20]).astype(np.float32)
        scores, guesses = draw.random(16).astype(np.float32), np.concatenate([ids, ids[:4]])
        plain[0].append(DetectPrediction(boxes, scores, guesses, labels))
        plain[1].append(DetectAnnotation(true, ids, crowd))
        rotated[0].append(predicted(upright_corners(boxes), scores.tolist(), guesses.tolist()))
        rotated[1].append(annotated(upright_corners(true), ids.tolist(), crowd.tolist()))
    expected, got = measured(*plain, "detect", labels), measured(*rotated)
    assert got.keys() == expected.keys() and 0.05 < expected["map"] < 0.95
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-6), name


def test_scores_similarity_and_report() -> None:
    truth = annotated([one(40, 30, 40, 10, 40), one(20, 40, 20, 5, -10)], [0, 1])
    wrong = predicted([one(40, 30, 40, 10, 41), one(20, 40, 20, 5, 80)], [0.9, 0.8], [0, 1])
    assert TASK.object_scores is not None and TASK.confidences is not None and TASK.diagnoser is not None
    scores = TASK.object_scores(wrong, truth)
    assert scores.true_scores.tolist() == pytest.approx([0.9, -1]) and scores.false_scores.tolist() == pytest.approx(
        [0.8]
    )
    assert TASK.confidences(wrong, truth).right.tolist() == [1, 0]
    assert TASK.similarity(wrong, predicted(truth.corners, [0.9, 0.8], [0, 1])) == 0.5
    diagnosis = TASK.diagnoser(LABELS)
    diagnosis.update([wrong], [truth])
    assert diagnosis.compute().blocks


def tiled(objects: list[tuple[np.ndarray, float]], size: tuple[int, int], tile: int, overlap: float) -> Any:
    """What is merged if each tile shows the parts of the objects that it contains, as boxes of the same angle."""
    from vertebra.geometry.rectangles import clipped_rectangles

    tiles = grid(size, tile, overlap)
    assert TASK.tile_merger is not None
    merger = TASK.tile_merger(LABELS, tiles, 0.1)
    for part in tiles:
        inner = np.stack([corners for corners, _ in objects]) - np.array([part.left, part.top])
        clipped, shown = clipped_rectangles(inner, (part.height, part.width))
        seen = shown > 20
        chosen = [score for (_, score), flag in zip(objects, seen, strict=True) if flag]
        spec = ResizeSpec((part.height, part.width))
        merger.add(decoded(clipped[seen], chosen), spec.transform(part.height, part.width), part)
    return merger.finish(None)


def test_the_parts_of_tiles_become_one_object() -> None:
    ship, boat, pair = one(100, 50, 120, 12, 20), one(40, 30, 20, 8, -50), one(43, 36, 20, 8, -50)
    merged = tiled([(ship, 0.9), (boat, 0.8), (pair, 0.7)], (100, 200), 110, 0.2)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    overlaps = rotated_iou(merged.corners.astype(np.float64), np.stack([ship, boat, pair])).diagonal()
    assert overlaps[0] > 0.9 and overlaps[1:].min() > 0.99, "parts in one box, and neighbors stay apart"
    nothing = tiled([(one(500, 500, 5, 5, 0), 0.9)], (100, 200), 110, 0.2)
    assert len(nothing) == 0


def test_views_are_fused_in_the_pixels_of_the_plain_canvas() -> None:
    plain = ResizeSpec(SIZE).transform(*SIZE)
    corners = np.stack([one(30, 25, 30, 8, 35), one(60, 40, 10, 10, 10)])
    mirrored = corners * [-1, 1] + [SIZE[1], 0]
    merger = TASK.tta_merger(LABELS, False)
    merger.add(decoded(corners, [0.8, 0.6]), ViewTransform(plain, plain, False))
    merger.add(decoded(mirrored[:1, [2, 1, 0, 3]], [0.4]), ViewTransform(plain, plain, True))
    fused = merger.finish()
    assert fused[-1] == 2 and fused[2][:2].tolist() == pytest.approx([0.6, 0.3])
    np.testing.assert_allclose(rotated_iou(fused[0][:2].astype(np.float64), corners).diagonal(), 1, atol=1e-3)
    empty = TASK.tta_merger(LABELS, False)
    empty.add(decoded([], []), ViewTransform(plain, plain, False))
    assert empty.finish()[-1] == 0


def test_crops_are_merged() -> None:
    crops = Crops(
        boxes=np.zeros((2, 4), np.float32),
        scores=np.ones(2),
        corners=np.array([[0, 0], [40, 20]]),
        size=SIZE,
        image=None,
        threshold=0.5,
        one_object=False,
    )
    parts = [predicted([one(20, 20, 20, 8, 30)], [0.6], [1]), predicted([one(10, 10, 9, 5, 0)] * 2, [0.9, 0.2], [1, 1])]
    assert TASK.merge_crops is not None
    merged = TASK.merge_crops(parts, crops, LABELS)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.6])
    np.testing.assert_allclose(merged.corners[0], one(50, 30, 9, 5, 0), atol=1e-4)


def test_random_boxes_lose_nothing_on_the_way_to_the_canvas_and_back() -> None:
    corners = turned(10, span=40)
    transform = ResizeSpec((120, 120)).transform(*SIZE)
    back: Any = TASK.from_decoded(decoded(transform.points_to_canvas(corners), [0.5] * 10), transform, LABELS, None)
    np.testing.assert_allclose(back.corners, corners, atol=1e-3)
