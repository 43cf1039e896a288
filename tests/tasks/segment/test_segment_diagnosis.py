"""The diagnosis of segmentation models, equal to numbers computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vertebra.errors import DataError
from vertebra.tasks import get_task
from vertebra.tasks.diagnosis import BarChart, Diagnosis, LineChart, Matrix, Table
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.boundary import boundary_distance, near_boundary
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.types import SegmentPrediction

LABELS = SegmentLabels(("road", "car", "tree"))
OVERLAPPING = SegmentLabels(("road", "car"), multilabel=True)
IGNORED = 255


def one_hot(mask: np.ndarray, classes: int, sure: float = 0.9) -> np.ndarray:
    rest = (1 - sure) / (classes - 1)
    return np.where(mask[None] == np.arange(classes)[:, None, None], sure, rest).astype(np.float32)


def diagnose(
    images: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]], labels: SegmentLabels = LABELS
) -> Diagnosis:
    diagnoser = get_task("segment").diagnoser
    assert diagnoser is not None
    diagnosis = diagnoser(labels)
    for predicted, true, probabilities in images:
        diagnosis.update([SegmentPrediction(predicted, labels, probabilities)], [SegmentAnnotation(true)])
    return diagnosis.compute()


def block(diagnosis: Diagnosis, kind: type, title: str) -> Any:
    (one,) = [each for each in diagnosis.blocks if isinstance(each, kind) and each.title.startswith(title)]
    return one


def test_pixels_near_a_boundary() -> None:
    mask = np.zeros((3, 10), dtype=np.uint8)
    mask[:, 5:] = 1
    assert np.flatnonzero(near_boundary(mask, IGNORED, 0)[1]).tolist() == [4, 5]
    assert np.flatnonzero(near_boundary(mask, IGNORED, 2)[1]).tolist() == [2, 3, 4, 5, 6, 7]
    mask[:, 4] = IGNORED
    assert not near_boundary(mask, IGNORED, 2).any(), "the edge of ignored pixels is no boundary"
    assert near_boundary(mask.T == 1, IGNORED, 1).T[:, 4:6].all(), "along both axes"
    assert boundary_distance((300, 400)) == 5 and boundary_distance((4, 4)) == 1


def stripes() -> np.ndarray:
    """Road on the left half of 20 x 40 pixels, car on the right; near the boundary are the columns 18 to 21."""
    mask = np.zeros((20, 40), dtype=np.uint8)
    mask[:, 20:] = 1
    return mask


def test_exclusive_classes() -> None:
    true, predicted = stripes(), stripes()
    predicted[:, 19] = 1  # 20 pixels, near the boundary
    predicted[:10, 5] = 1  # 10 pixels inside
    predicted[0, 30:34] = 2  # 4 pixels of a class that is not in the image
    true[19, :] = IGNORED
    predicted[19, :] = 2
    diagnosis = diagnose([(predicted, true, None)])
    counts = [[380 - 19 - 10, 29, 0], [0, 376, 4], [0, 0, 0]]
    assert block(diagnosis, Matrix, "Confusion matrix").counts.tolist() == counts
    rows = block(diagnosis, Table, "Classes").rows
    road_iou, car_iou = 351 / 380, 376 / (380 + 29)
    assert [row[:4] for row in rows] == [
        ["road", 380, 0.5, pytest.approx(road_iou)],
        ["car", 380, 0.5, pytest.approx(car_iou)],
        ["tree", 0, 0.0, 0.0],
    ]
    assert rows[0][4:] == [1.0, pytest.approx(351 / 380), pytest.approx(19 / 29)]
    assert rows[1][6] == pytest.approx(19 / 33)
    where = block(diagnosis, Table, "Which classes").rows
    assert where == [
        ["road", "car", 29, pytest.approx(29 / 380), pytest.approx(19 / 29)],
        ["car", "tree", 4, pytest.approx(4 / 380), 0.0],
    ]
    mean = (road_iou + car_iou) / 3
    assert diagnosis.image_losses == pytest.approx([1 - mean])
    assert diagnosis.image_texts[0] == f"mean IoU {mean:.2f}; most: road taken for car (3.8% of the pixels)"
    bars = block(diagnosis, BarChart, "What fixing").bars
    assert bars["boundary"] == pytest.approx(100 * ((370 / 380 + 376 / 390) / 3 - mean))
    assert bars["inside"] == pytest.approx(100 * ((361 / 380 + 376 / 399) / 3 - mean))
    assert bars["class not in the image"] == pytest.approx(100 * ((road_iou + 380 / 409 + 1) / 3 - mean))
    assert bars["class not predicted"] == 0
    rates = block(diagnosis, BarChart, "Wrong pixels").bars
    assert rates["near a boundary"] == pytest.approx(100 * 19 / 76)
    assert rates["elsewhere"] == pytest.approx(100 * 14 / (760 - 76))


def test_a_class_that_is_not_predicted() -> None:
    true, predicted = stripes(), np.zeros((20, 40), dtype=np.uint8)
    diagnosis = diagnose([(predicted, true, None)])
    (*_, rows) = block(diagnosis, Table, "Kinds of error").rows[:3]
    assert rows[0] == "class not predicted" and rows[2] == pytest.approx(18 / 20)


def test_probabilities_give_calibration_and_wrong_masks() -> None:
    good, wrong = stripes(), stripes()
    wrong[5:15, 30:36] = 0  # 60 pixels of the mask are wrong; the model predicts the right class there
    wrong[17, 22:40] = 0  # a line is too thin for an entry
    sure = one_hot(stripes(), 3)
    diagnosis = diagnose([(good, good, sure), (good, wrong, sure)])
    (label,) = diagnosis.likely_wrong
    assert label.image == 1 and label.text == "labeled road, predicted car (0.90) on 7.5% of the pixels"
    assert label.confidence == pytest.approx(1 - 0.05**0.075**0.3) and label.box == (30, 5, 36, 15)
    assert "ECE, 15 bins): 0.051" in block(diagnosis, LineChart, "Calibration").text
    assert diagnosis.thresholds == {}
    without = diagnose([(good, good, None), (good, wrong, None)])
    assert [label.image for label in without.likely_wrong] == [1]
    assert not [each for each in without.blocks if each.title.startswith("Calibration")]


def test_a_doubtful_prediction_is_no_wrong_label() -> None:
    good, wrong = stripes(), stripes()
    wrong[5:15, 30:36] = 0
    unsure = np.where(good == wrong, one_hot(good, 3), one_hot(good, 3, 0.6))
    assert not diagnose([(good, good, one_hot(good, 3)), (good, wrong, unsure)]).likely_wrong


def test_each_wrong_region_is_an_entry() -> None:
    good, wrong = stripes(), stripes()
    wrong[2:8, 24:30], wrong[10:18, 28:38] = 2, 0
    listed = diagnose([(good, good, one_hot(good, 3)), (good, wrong, one_hot(good, 3))]).likely_wrong
    assert {label.box: label.text.split(" (")[0] for label in listed} == {
        (24, 2, 30, 8): "labeled tree, predicted car",
        (28, 10, 38, 18): "labeled road, predicted car",
    }


def test_of_many_wrong_regions_the_outliers_are_entries() -> None:
    good, images = stripes(), []
    for image in range(30):  # the model is wrong in a region of each image, and sure of it in one of them
        wrong = good.copy()
        wrong[5:11, 30:36] = 0
        given = 0.005 if image == 7 else 0.25 + 0.005 * image
        unsure = one_hot(good, 3, 0.6)
        unsure[:, 5:11, 30:36] = np.array([given, 0.99 - given, 0.01], dtype=np.float32)[:, None, None]
        images.append((good, wrong, unsure))
    (label,) = diagnose(images).likely_wrong
    assert label.image == 7 and label.box == (30, 5, 36, 11)


def layers(*masks: np.ndarray) -> np.ndarray:
    return np.stack(masks).astype(np.uint8)


def test_overlapping_classes() -> None:
    road, car = stripes() == 0, stripes() == 1
    predicted_car = car.copy()
    predicted_car[:10, 30] = False
    predicted_road = road.copy()
    predicted_road[:10, 30] = True
    predicted_road[19, :] = True
    true = layers(road, car)
    true[0, 19, :] = IGNORED
    probabilities = np.where(layers(predicted_road, predicted_car) > 0, 0.8, 0.1).astype(np.float32)
    diagnosis = diagnose([(layers(predicted_road, predicted_car) > 0, true, probabilities)], OVERLAPPING)
    counts = block(diagnosis, Matrix, "Confusion matrix")
    assert counts.rows == ["road", "car", "nothing"]
    assert counts.counts.tolist() == [[380, 0, 0], [10, 390, 0], [0, 0, 0]]
    rows = block(diagnosis, Table, "Classes").rows
    assert rows[0][:4] == ["road", 380, pytest.approx(380 / 780), pytest.approx(380 / 390)]
    assert rows[1][:4] == ["car", 400, pytest.approx(400 / 780), pytest.approx(390 / 400)]
    assert diagnosis.image_losses == pytest.approx([1 - (380 / 390 + 390 / 400) / 2])
    assert set(diagnosis.thresholds) == {"road", "car"} and 0.1 < diagnosis.thresholds["car"] < 0.81
    assert "Calibration (reliability diagram)" in [each.title for each in diagnosis.blocks]
    assert block(diagnosis, BarChart, "What fixing").bars["inside"] == pytest.approx(100 * diagnosis.image_losses[0])


def test_overlapping_kinds_and_wrong_masks() -> None:
    nothing, square = np.zeros((20, 40), dtype=bool), np.zeros((20, 40), dtype=bool)
    square[5:15, 10:20] = True
    sure = np.where(layers(square, nothing) > 0, 0.9, 0.1).astype(np.float32)
    good = (layers(square, nothing) > 0, layers(square, nothing), sure)
    unlabeled = (layers(square, nothing) > 0, layers(nothing, nothing), sure)
    diagnosis = diagnose([good, unlabeled], OVERLAPPING)
    kinds = {row[0]: row[2] for row in block(diagnosis, Table, "Kinds of error").rows}
    assert kinds == {"boundary": 0, "class not in the image": 1, "class not predicted": 0, "inside": 0}
    assert block(diagnosis, Matrix, "Confusion matrix").counts.tolist() == [[100, 0, 0], [0, 0, 0], [100, 0, 0]]
    (label,) = diagnosis.likely_wrong
    assert label.image == 1 and label.text.startswith("labeled not road, predicted road (0.90) on 12.5%")
    swapped = diagnose([(layers(nothing, square) > 0, layers(square, nothing), None)], OVERLAPPING)
    kinds = {row[0]: row[2] for row in block(swapped, Table, "Kinds of error").rows}
    assert kinds["class not in the image"] == pytest.approx(0.5) and kinds["class not predicted"] == pytest.approx(
        36 / 200
    )
    assert block(swapped, Matrix, "Confusion matrix").counts.tolist() == [[0, 100, 0], [0, 0, 0], [0, 0, 0]]


def test_without_images_and_without_labeled_pixels() -> None:
    empty = diagnose([])
    assert not empty.blocks and not len(empty.image_losses)
    ignored = np.full((20, 40), IGNORED, dtype=np.uint8)
    diagnosis = diagnose([(stripes(), ignored, one_hot(stripes(), 3)), (np.zeros((20, 40), np.uint8),) * 2 + (None,)])
    assert diagnosis.image_losses.tolist() == [0, 0] and not diagnosis.likely_wrong
    assert list(diagnosis.image_texts) == ["no labeled pixels", "all pixels right"]


@pytest.mark.parametrize(
    ("true", "labels", "message"),
    [
        (np.full((20, 40), 3), LABELS, "the mask has the value 3: there are 3 classes"),
        (np.full((20, 41), 0), LABELS, "annotation's"),
        (np.full((2, 20, 40), 2), OVERLAPPING, "hold 0 and 1"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(true: np.ndarray, labels: SegmentLabels, message: str) -> None:
    predicted = np.zeros((20, 40), dtype=np.uint8) if labels is LABELS else np.zeros((2, 20, 40), dtype=bool)
    with pytest.raises(DataError, match=message):
        diagnose([(predicted, true, None)], labels)
