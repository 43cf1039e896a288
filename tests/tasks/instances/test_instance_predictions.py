"""Predictions of objects with masks: from decoded arrays, merged from tiles, views and crops, measured and written."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vertebra.annotations.run_lengths import Region
from vertebra.annotations.tracing import as_one_outline
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.tiles import grid
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks import get_task
from vertebra.tasks.crops import Crops
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.mask_pairs import mask_overlaps
from vertebra.tasks.instances.types import InstancePrediction, region_array

TASK = get_task("instances")
LABELS = InstanceLabels(("zebra", "ant", "bear"))
SIZE = (60, 80)


def disc(x: float, y: float, radius: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    inside: np.ndarray = np.hypot(columns - x, rows - y) < radius
    return inside


def predicted(*masks: np.ndarray, scores: list[float], ids: list[int], **changes: Any) -> InstancePrediction:
    rles = [Region.of(mask) for mask in masks]
    size = masks[0].shape if masks else SIZE
    boxes = np.array([region.bounds() for region in rles], dtype=np.float32).reshape(-1, 4)
    values = np.array(scores, dtype=np.float32), np.array(ids, dtype=np.int64)
    return InstancePrediction(region_array(rles), boxes, *values, size, LABELS, **changes)


def decoded(boxes: list[list[float]], scores: list[float], masks: np.ndarray | None = None) -> list[np.ndarray]:
    """Arrays as a decoder gives them, with a row of padding; masks are discs by default."""
    count = len(boxes)
    cells = disc(14, 14, 14, (28, 28)).astype(np.float32)[None].repeat(count, 0) if masks is None else masks
    return [
        np.concatenate([cells, np.zeros((1, 28, 28), np.float32)]),
        np.array([*boxes, [0, 0, 0, 0]], dtype=np.float32),
        np.array([*scores, 0], dtype=np.float32),
        np.array([*[1] * count, -1]),
        np.array(count),
    ]


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_from_decoded_in_pixels_of_the_image() -> None:
    transform = ResizeSpec((120, 120)).transform(*SIZE)  # 1.5 canvas pixels per image pixel
    whole = decoded([[15, 15, 75, 75], [90, 0, 150, 60], [0, 100, 30, 120]], [0.9, 0.6, 0.1])
    prediction: Any = TASK.from_decoded(whole, transform, LABELS, None)
    assert prediction.scores.tolist() == pytest.approx([0.9, 0.6]), "the third one lies on the padding"
    np.testing.assert_allclose(prediction.boxes, [[10, 10, 50, 50], [60, 0, 80, 40]], atol=1e-4)
    assert iou(prediction.masks[0], disc(30, 30, 20)) > 0.96
    assert iou(prediction.masks[1], disc(80, 20, 20)) > 0.95, "the part beside the image is cut off, not squeezed"
    few: Any = TASK.predict_from(False, 0.7)(whole, transform, LABELS, None)
    assert len(few) == 1 and few.draw_threshold == 0.7
    by_class: Any = TASK.predict_from(False, np.array([0.0, 0.95, 0.0]))(whole, transform, LABELS, None)
    assert not len(by_class)


def test_polygons_fill_the_mask_again() -> None:
    from vertebra.annotations.outlines import outline_runs

    ring = disc(30, 30, 20) & ~disc(30, 30, 8)
    ring[2:6, 70:78] = True
    prediction = predicted(ring, scores=[0.9], ids=[0])
    (polygons,) = prediction.polygons
    assert len(polygons) == 3 and all(polygon.shape[1] == 2 for polygon in polygons)
    outer = [polygon.reshape(-1).astype(np.float64) for polygon in polygons]
    drawn = Region(outline_runs([as_one_outline(outer)], SIZE), SIZE).mask()
    assert iou(drawn, ring) > 0.95


def test_forms_of_other_libraries() -> None:
    prediction = predicted(disc(30, 30, 12), disc(60, 20, 9), scores=[0.9, 0.25], ids=[1, 0])
    entries = prediction.to_coco(7, [None, 5, 6])
    assert [entry["category_id"] for entry in entries] == [5] and set(entries[0]) == {
        "image_id", "category_id", "segmentation", "score",
    }  # fmt: skip
    whole = json.loads(json.dumps(prediction.to_dict()))
    assert whole["size"] == [60, 80] and set(whole["objects"][0]) == {"class_name", "class_id", "score", "box", "mask"}
    supervision = pytest.importorskip("supervision")
    detections = prediction.to_supervision()
    assert isinstance(detections, supervision.Detections) and detections.mask.shape == (2, 60, 80)


def test_pictures() -> None:
    plain = Image.new("RGB", (80, 60), (90, 90, 90))
    prediction = predicted(disc(30, 30, 12), disc(60, 20, 9), scores=[0.9, 0.25], ids=[1, 0], image=plain)
    picture = np.asarray(prediction.draw())
    factor = picture.shape[0] / 60
    changed = (picture != 90).any(axis=-1)
    assert changed[int(30 * factor), int(30 * factor)], "the mask of the confident object is painted"
    assert not changed[int(20 * factor), int(60 * factor)], "the other one is below the threshold"
    annotation = InstanceAnnotation.of([Region.of(disc(30, 30, 12))], np.array([2]), np.array([False]), SIZE)
    assert (np.asarray(TASK.data.draw(annotation, LABELS, plain)) != 90).any()
    with pytest.raises(Exception, match="draw on the image that was predicted on"):
        prediction.draw(Image.new("RGB", (81, 60)))


def test_tiles_are_joined() -> None:
    tiles = grid((60, 100), 60, 0.25)
    assert TASK.tile_merger is not None
    merger: Any = TASK.tile_merger(LABELS, tiles, 0.2)
    shown = disc(50, 30, 20, (60, 100))
    for tile in tiles:
        left, top, right, bottom = tile.box
        transform = ResizeSpec((60, 60)).transform(bottom - top, right - left)
        part = shown[top:bottom, left:right]
        columns = np.flatnonzero(part.any(axis=0))
        box = [float(columns[0]), 10.0, float(columns[-1] + 1), 50.0]
        y = (10 + (np.arange(28) + 0.5) / 28 * 40).astype(int)
        x = (box[0] + (np.arange(28) + 0.5) / 28 * (box[2] - box[0])).astype(int)
        cells = part[y][:, x].astype(np.float32)
        merger.add(decoded([box], [0.8], cells[None]), transform, tile)
    merged = merger.finish(None)
    assert len(merged) == 1 and merged.size == (60, 100)
    assert iou(merged.masks[0], shown) > 0.9


def test_views_are_fused() -> None:
    plain = ResizeSpec((60, 80)).transform(*SIZE)
    larger = ResizeSpec((90, 120)).transform(*SIZE)
    half = np.zeros((1, 28, 28), np.float32)
    half[0, :, :14] = 1.0
    merger = TASK.tta_merger(LABELS, False)
    merger.add(decoded([[10, 10, 50, 50]], [0.9], half), ViewTransform(plain, plain, False))
    merger.add(decoded([[30, 10, 70, 50]], [0.7], half[:, :, ::-1]), ViewTransform(plain, plain, True))
    merger.add(decoded([[15, 15, 75, 75]], [0.8], half), ViewTransform(plain, larger, False))
    masks, boxes, scores, labels, count = merger.finish()
    assert int(count) == 1 and labels.tolist() == [1, -1] and float(scores[0]) == pytest.approx(0.8)
    np.testing.assert_allclose(boxes[0], [10, 10, 50, 50], atol=1e-4)
    np.testing.assert_allclose(masks[0], half[0], atol=1e-5)


def test_crops_of_a_first_model() -> None:
    corners = np.array([[10.0, 5.0], [50.0, 20.0]])
    boxes = np.array([[10, 5, 40, 35], [50, 20, 80, 50]], dtype=np.float32)
    parts = [predicted(disc(15, 15, 10, (30, 30)), scores=[score], ids=[0]) for score in (0.5, 0.9)]
    crops = Crops(boxes, np.array([0.9, 0.8]), corners, SIZE, None, 0.3, False)
    assert TASK.merge_crops is not None
    merged: Any = TASK.merge_crops(parts, crops, LABELS)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5]) and merged.size == SIZE
    np.testing.assert_array_equal(merged.masks[1], disc(25, 20, 10))


def scene(draw: np.random.Generator) -> tuple[InstancePrediction, InstanceAnnotation]:
    """Objects with crowds, predictions near them and anywhere; class 2 is never annotated."""
    places = [(draw.uniform(5, 75), draw.uniform(5, 55), draw.uniform(3, 25)) for _ in range(6)]
    true = [disc(*place) for place in places]
    near = [disc(x + draw.normal(0, 1.5), y + draw.normal(0, 1.5), r) for x, y, r in places[:4]]
    more = [disc(draw.uniform(5, 75), draw.uniform(5, 55), draw.uniform(3, 12)) for _ in range(3)]
    ids = draw.integers(0, 2, 6)
    labels = [*ids[:4].tolist(), *draw.integers(0, 3, 3).tolist()]
    scores = draw.random(7).round(1).tolist()  # with ties
    annotation = InstanceAnnotation.of([Region.of(mask) for mask in true], ids, draw.random(6) < 0.3, SIZE)
    return predicted(*near, *more, scores=scores, ids=labels), annotation


def of_pycocotools(predictions: list[InstancePrediction], truths: list[InstanceAnnotation]) -> np.ndarray:
    annotations: list[dict[str, Any]] = []
    for image, truth in enumerate(truths):
        for region, label, crowd in zip(truth.rles, truth.labels.tolist(), truth.crowd.tolist(), strict=True):
            entry = {"image_id": image, "category_id": label, "segmentation": region.to_coco(), "iscrowd": int(crowd)}
            annotations.append({"id": len(annotations) + 1, "area": region.area, "bbox": [0, 0, 1, 1], **entry})
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in range(len(truths))],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(LABELS.classes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes([row for image, each in enumerate(predictions) for row in each.to_coco(image)])
        evaluation = COCOeval(coco, results, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


def test_mask_ap_is_that_of_pycocotools() -> None:
    draw = np.random.default_rng(1)
    scenes = [scene(draw) for _ in range(12)]
    metric = TASK.metric(LABELS)
    metric.update([scenes[0][0]], [scenes[0][1]])
    metric.update([prediction for prediction, _ in scenes[1:]], [annotation for _, annotation in scenes[1:]])
    values = metric.compute()
    stats = of_pycocotools(*(list(side) for side in zip(*scenes, strict=True)))
    for key, position in {"map": 0, "map_50": 1, "map_75": 2, "map_small": 3, "map_medium": 4, "mar_100": 8}.items():
        assert values[key] == pytest.approx(stats[position], abs=1e-6), key
    assert 0 < values["boundary_map"] <= values["map"] + 1e-9
    assert set(values) <= set(metric.names()) and "map/zebra" in values and "map/bear" not in values
    assert metric.compute() == values
    metric.reset()
    assert metric.compute() == {}


def test_perfect_predictions_and_none() -> None:
    draw = np.random.default_rng(2)
    _, annotation = scene(draw)
    truth = annotation.take(~annotation.crowd)
    metric = TASK.metric(LABELS)
    metric.update([predicted(scores=[], ids=[])], [truth])
    assert metric.compute()["map"] == 0
    metric.reset()
    rles = region_array(truth.rles)
    scores = np.linspace(0.9, 0.5, len(rles)).astype(np.float32)
    perfect = InstancePrediction(rles, truth.boxes, scores, truth.labels, SIZE, LABELS)
    metric.update([perfect], [truth])
    assert metric.compute()["map"] == pytest.approx(1) and metric.compute()["boundary_map"] == pytest.approx(1)
    assert TASK.similarity(perfect, perfect) == 1 and TASK.similarity(perfect, perfect[:0]) == 0
    assert TASK.object_scores is not None and TASK.confidences is not None
    matched = TASK.object_scores(perfect, truth)
    assert sorted(matched.true_scores) == pytest.approx(sorted(scores)) and not len(matched.false_ids)
    assert TASK.confidences(perfect, truth).right.all()


def test_a_class_that_is_not_exhaustively_annotated_has_no_false_positives() -> None:
    zebra, ant = disc(20, 20, 10), disc(60, 40, 10)
    prediction = predicted(zebra, ant, disc(60, 20, 9), scores=[0.9, 0.5, 0.95], ids=[0, 1, 1])
    truth = InstanceAnnotation.of([Region.of(each) for each in (zebra, ant)], np.array([0, 1]), np.zeros(2, bool), SIZE)
    partial = replace(truth, exhaustive=np.array([True, False, True]))
    found = {}
    for name, annotation in (("whole", truth), ("partial", partial)):
        metric = TASK.metric(LABELS)
        metric.update([prediction], [annotation])
        found[name] = metric.compute()
    assert found["whole"]["map/ant"] == pytest.approx(0.5, abs=0.01) and found["partial"]["map/ant"] == pytest.approx(1)
    assert found["partial"]["boundary_map"] == pytest.approx(1) and found["whole"]["boundary_map"] < 0.9
    assert TASK.object_scores is not None
    assert len(TASK.object_scores(prediction, truth).false_ids) == 1
    assert not len(TASK.object_scores(prediction, partial).false_ids)


def test_overlaps_are_those_of_masks_not_of_boxes() -> None:
    low, high = np.tri(60, dtype=bool), ~np.tri(60, dtype=bool)
    square = [Region.of(mask) for mask in (low, high)]
    np.testing.assert_allclose(mask_overlaps(square, square), np.eye(2))
    crowd = mask_overlaps(square[:1], [Region.of(low | high)], np.array([True]))
    assert crowd[0, 0] == pytest.approx(1)


def test_a_report_judges_by_masks() -> None:
    assert TASK.diagnoser is not None
    diagnoser = TASK.diagnoser(LABELS)
    half = predicted(disc(30, 30, 12) & (np.arange(80) < 26), scores=[0.9], ids=[0])
    truth = InstanceAnnotation.of([Region.of(disc(30, 30, 12))], np.array([0]), np.array([False]), SIZE)
    right = predicted(disc(30, 30, 12), scores=[0.9], ids=[0])
    diagnoser.update([half, right], [truth, truth])
    diagnosis = diagnoser.compute()
    assert diagnosis.image_texts[1] == "all 1 right" and diagnosis.image_losses[0] > diagnosis.image_losses[1]
    assert any("mask matches" in getattr(block, "text", "") for block in diagnosis.blocks)
