"""The diagnosis of keypoints: one constructed case for each kind of error, and numbers equal to those of the metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vertebra.tasks import get_task
from vertebra.tasks.diagnosis import BarChart, Diagnosis, LineChart, Table
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.keypoints.wrong_labels import exchanged_pairs

SIGMA = 0.05
LABELS = KeypointLabels(("mouse",), points=("left", "right", "tail"), flip_pairs=((0, 1),), sigmas=(SIGMA,) * 3)
POSE = np.array([[20, 20], [80, 20], [50, 90]], dtype=np.float32)
SHIFT = np.array([200, 0], dtype=np.float32)  # to another mouse


def offset(similarity: float) -> np.ndarray:
    """An offset to the right by which a point has this similarity, for a box of 100 x 100 pixels."""
    return np.array([np.sqrt(-np.log(similarity) * 2 * 100 * 100) * 2 * SIGMA, 0], dtype=np.float32)


def predicted(*poses: np.ndarray, score: float = 0.9, point_score: float = 0.9) -> KeypointPrediction:
    points = np.array(poses, dtype=np.float32).reshape(-1, 3, 2)
    count = len(points)
    return KeypointPrediction(
        points=points,
        point_scores=np.full((count, 3), point_score, dtype=np.float32),
        boxes=np.zeros((count, 4), dtype=np.float32),
        scores=np.full(count, score, dtype=np.float32),
        class_ids=np.zeros(count, dtype=np.int64),
        spec=LABELS,
    )


def true(*poses: np.ndarray, visibility: int = 2) -> KeypointAnnotation:
    points = np.array(poses, dtype=np.float32).reshape(-1, 3, 2)
    count = len(points)
    corners = points[:, :1] - np.array([20, 20], dtype=np.float32)
    return KeypointAnnotation(
        points=np.concatenate([points, np.full((count, 3, 1), visibility, dtype=np.float32)], axis=-1),
        boxes=np.concatenate([corners, corners + 100], axis=-1).reshape(-1, 4),
        labels=np.zeros(count, dtype=np.int64),
        crowd=np.zeros(count, dtype=bool),
        areas=np.full(count, 100 * 100, dtype=np.float32),
    )


def diagnose(*images: tuple[KeypointPrediction, KeypointAnnotation], labels: KeypointLabels = LABELS) -> Diagnosis:
    diagnoser = get_task("keypoints").diagnoser
    assert diagnoser is not None
    diagnosis = diagnoser(labels)
    for prediction, annotation in images:
        diagnosis.update([prediction], [annotation])
    return diagnosis.compute()


def block(diagnosis: Diagnosis, kind: type, title: str) -> Any:
    (one,) = [each for each in diagnosis.blocks if isinstance(each, kind) and each.title.startswith(title)]
    return one


def changed(row: int, position: np.ndarray) -> np.ndarray:
    pose = POSE.copy()
    pose[row] = position
    return pose


JITTER = changed(2, POSE[2] + offset(0.7))
INVERSION = changed(0, POSE[1] + offset(0.9))
SWAP = changed(2, POSE[2] + SHIFT + offset(0.8))
MISS = changed(2, POSE[2] + 60)


@pytest.mark.parametrize(
    ("kind", "pose"), [("jitter", JITTER), ("inversion", INVERSION), ("swap", SWAP), ("miss", MISS)]
)
def test_each_kind_of_error(kind: str, pose: np.ndarray) -> None:
    diagnosis = diagnose((predicted(pose, POSE + SHIFT), true(POSE, POSE + SHIFT)))
    counts = {row[0]: row[2] for row in block(diagnosis, Table, "Kinds of error").rows}
    assert counts == {name: int(name == kind) for name in counts} and len(counts) == 5
    bars = block(diagnosis, BarChart, "What fixing").bars
    assert all((gain > 0) == (name == kind) for name, gain in bars.items()), bars


def test_a_fixed_point_keeps_its_offset_from_the_point_it_was_confused_with() -> None:
    exact = diagnose((predicted(changed(0, POSE[1])), true(POSE)))
    near = diagnose((predicted(changed(0, POSE[1] + offset(0.6))), true(POSE)))
    # OKS rises from 2 / 3, right at 4 of 10 thresholds, to 1; or to (2 + 0.6) / 3, right at 8 of them
    assert block(exact, BarChart, "What fixing").bars["inversion"] == pytest.approx(60)
    assert block(near, BarChart, "What fixing").bars["inversion"] == pytest.approx(40)


def test_good_points_and_missed_objects_are_no_errors_of_points() -> None:
    diagnosis = diagnose((predicted(POSE + offset(0.9)), true(POSE, POSE + SHIFT)))
    rows = block(diagnosis, Table, "Kinds of error").rows
    assert [row[2] for row in rows] == [0, 0, 0, 0, 3] and rows[4][3] == 0.5
    assert diagnosis.image_losses == pytest.approx([(3 * offset(0.9)[0] / 100 + 3) / 6])
    assert "1 of 2 objects missed" in diagnosis.image_texts[0]
    histogram = block(diagnosis, BarChart, "Objects by OKS").bars
    assert histogram["0.0 to 0.1"] == 1 and sum(histogram.values()) == 2


def test_errors_by_point() -> None:
    moved = [POSE + np.array([[4, 0], [0, 8], [15, 0]]), POSE + np.array([[6, 0], [0, 8], [30, 0]])]
    diagnosis = diagnose(*[(predicted(pose), true(POSE)) for pose in moved], (predicted(), true(POSE)))
    left, right, tail, every = block(diagnosis, Table, "Points").rows
    third = pytest.approx(1 / 3)
    assert left == ["left", 3, 5.0, 5.0, pytest.approx(0.05), third, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert right[2:] == [8.0, 8.0, pytest.approx(0.08), 0.0, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert tail[2:] == [22.5, 22.5, pytest.approx(0.225), 0.0, 0.0, third]
    assert every[1:4] == [9, pytest.approx(71 / 6), 8.0]
    assert block(diagnosis, BarChart, "Mean error by point").bars == pytest.approx(
        {"left": 5, "right": 8, "tail": 22.5}
    )
    assert diagnosis.image_losses == pytest.approx([0.09, 0.44 / 3, 1])
    assert diagnosis.image_texts[0] == "mean error 9.0 px, worst tail 15.0 px"


def test_hidden_points() -> None:
    diagnosis = diagnose((predicted(POSE), true(POSE)), (predicted(POSE + [10, 0]), true(POSE, visibility=1)))
    visible, hidden = block(diagnosis, Table, "Visible and hidden").rows
    assert visible[:3] == ["visible", 3, 0.0] and hidden[:3] == ["hidden", 3, 10.0]


def _random_image(draw: np.random.Generator, objects: int, extra: int) -> tuple[KeypointPrediction, KeypointAnnotation]:
    poses = POSE + draw.uniform(0, 400, (objects, 1, 2))
    near = poses + draw.normal(0, 8, poses.shape)
    answers = np.concatenate([near, POSE + draw.uniform(0, 400, (extra, 1, 2))])
    prediction = replace(predicted(*answers), scores=draw.random(len(answers)).astype(np.float32))
    annotation = true(*poses)
    annotation.points[draw.random((objects, 3)) < 0.2] = 0
    return prediction, replace(annotation, crowd=draw.random(objects) < 0.2)


def test_numbers_equal_those_of_the_metrics() -> None:
    draw = np.random.default_rng(1)
    images = [_random_image(draw, *sizes) for sizes in [(6, 2), (0, 3), (3, 0), (12, 12), (1, 1)]]
    metric = get_task("keypoints").metric(LABELS)
    metric.update([prediction for prediction, _ in images], [annotation for _, annotation in images])
    expected = metric.compute()
    from vertebra.tasks.keypoints.diagnosis import KeypointDiagnosis
    from vertebra.tasks.keypoints.oks import object_pairs

    diagnosis = KeypointDiagnosis(LABELS)
    diagnosis.update([prediction for prediction, _ in images], [annotation for _, annotation in images])
    pairs = object_pairs(diagnosis.predicted, diagnosis.true, 1, diagnosis.sigmas)
    assert pairs.mean_average_precision() == pytest.approx(expected["oks_map"])
    rows = block(diagnosis.compute(), Table, "Points").rows
    assert rows[3][2] == pytest.approx(expected["error"]) and rows[3][4] == pytest.approx(expected["nme"])
    assert [row[5] for row in rows] == pytest.approx(
        [expected[name] for name in ("pck/left", "pck/right", "pck/tail", "pck")]
    )


def test_exchanged_points() -> None:
    turned = POSE[[1, 0, 2]]
    diagnosis = diagnose((predicted(turned), true(POSE)), (predicted(POSE), true(POSE)))
    assert block(diagnosis, Table, "Left and right exchanged").rows == [["left and right", 2, 1, 0.5]]
    assert "2 points confused with another" in diagnosis.image_texts[0]
    (wrong,) = diagnosis.likely_wrong
    assert wrong.image == 0 and wrong.text == "left and right seem exchanged (0.90)"
    assert wrong.confidence == pytest.approx(0.9) and wrong.box == (0, 0, 100, 100)
    unknown = KeypointLabels(("mouse",), points=LABELS.points, flip_pairs=None)
    titles = [each.title for each in diagnose((predicted(turned), true(POSE)), labels=unknown).blocks]
    assert "Left and right exchanged" not in titles


def test_any_two_points_may_be_exchanged_and_each_object_is_one_entry() -> None:
    unknown = KeypointLabels(("mouse",), points=LABELS.points, flip_pairs=None)
    (wrong,) = diagnose(
        (predicted(POSE[[2, 1, 0]]), true(POSE)), (predicted(POSE), true(POSE)), labels=unknown
    ).likely_wrong
    assert wrong.image == 0 and wrong.text == "left and tail seem exchanged (0.90)"
    distances = np.array([[9, 1, 9, 9], [1, 9, 9, 9], [9, 9, 9, 2], [9, 9, 0, 9.0]])
    assert [pair[:2] for pair in exchanged_pairs(distances, 5)] == [(0, 1), (2, 3)]
    assert [pair[:2] for pair in exchanged_pairs(distances, 19)] == []


def test_a_confident_point_far_away_is_a_likely_wrong_label() -> None:
    good = (predicted(POSE, point_score=0.8), true(POSE))
    (wrong,) = diagnose(good, (predicted(MISS), true(POSE))).likely_wrong
    assert wrong.image == 1 and wrong.text == "tail is 85 px from its prediction (0.90)"
    assert wrong.confidence == pytest.approx(0.9, abs=1e-3)
    assert diagnose(good, (predicted(MISS, point_score=0.41), true(POSE))).likely_wrong
    assert not diagnose(good, (predicted(MISS, point_score=0.39), true(POSE))).likely_wrong
    assert not diagnose(good, (predicted(JITTER), true(POSE))).likely_wrong


def test_curves_of_objects() -> None:
    diagnosis = diagnose((predicted(POSE, score=0.9), true(POSE)), (predicted(POSE, score=0.5), true()))
    assert diagnosis.thresholds == {"mouse": pytest.approx(0.7)}
    assert block(diagnosis, LineChart, "Precision and recall").curves[0].mark == (1.0, 1.0)


@pytest.mark.parametrize(
    "images", [[], [(predicted(), true())], [(predicted(POSE), true())], [(predicted(), true(POSE))]]
)
def test_without_objects(images: list[Any]) -> None:
    diagnosis = diagnose(*images)
    assert len(diagnosis.image_losses) == len(diagnosis.image_texts) == len(images)
    assert diagnosis.thresholds == {} and not diagnosis.likely_wrong
    if images:
        assert diagnosis.image_losses.tolist() == [float(len(images[0][1].labels))]
