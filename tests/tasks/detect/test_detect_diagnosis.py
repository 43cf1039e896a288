"""The diagnosis of detectors: the kinds of error, one constructed case each, and numbers equal to those of the metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vertebra.tasks import get_task
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.box_pairs import BoxPairs, concatenate, pairs_of_image
from vertebra.tasks.detect.error_kinds import (
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    KINDS,
    LOCALIZATION,
    MISSED,
    box_errors,
    gains,
)
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.detect.wrong_labels import wrong_boxes
from vertebra.tasks.diagnosis import BarChart, Diagnosis, LineChart, Matrix, Table

LABELS = DetectLabels(("cat", "dog"))
CAT, DOG = 0, 1
BOX = (0, 0, 100, 100)
NEAR = (0, 0, 100, 90)  # IoU of 0.9 with BOX
LOOSE = (0, 0, 100, 40)  # 0.4
AWAY = (200, 0, 300, 100)
Predicted = tuple[tuple[int, ...], int, float]
True_ = tuple[tuple[int, ...], int]


def predicted(*rows: Predicted) -> DetectPrediction:
    boxes = np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4)
    scores = np.array([score for *_, score in rows], dtype=np.float32)
    return DetectPrediction(boxes, scores, np.array([label for _, label, _ in rows], dtype=np.int64), LABELS)


def true(*rows: True_, crowd: tuple[bool, ...] = ()) -> DetectAnnotation:
    boxes = np.array([box for box, _ in rows], dtype=np.float32).reshape(-1, 4)
    labels = np.array([label for _, label in rows], dtype=np.int64)
    return DetectAnnotation(boxes, labels, np.array(crowd or [False] * len(rows), dtype=bool))


def diagnose(*images: tuple[DetectPrediction, DetectAnnotation]) -> Diagnosis:
    diagnoser = get_task("detect").diagnoser
    assert diagnoser is not None
    diagnosis = diagnoser(LABELS)
    for prediction, annotation in images:
        diagnosis.update([prediction], [annotation])
    return diagnosis.compute()


def block(diagnosis: Diagnosis, kind: type, title: str) -> Any:
    (one,) = [each for each in diagnosis.blocks if isinstance(each, kind) and each.title.startswith(title)]
    return one


def pairs(*images: tuple[DetectPrediction, DetectAnnotation]) -> BoxPairs:
    return concatenate([pairs_of_image(*image) for image in images])


# what is predicted beside, and not instead of, a right box is an error of the score 0.9, which stands before it
CASES: dict[int, tuple[list[Predicted], list[True_]]] = {
    CLASSIFICATION: ([(NEAR, DOG, 0.9)], [(BOX, CAT)]),
    LOCALIZATION: ([(LOOSE, CAT, 0.9)], [(BOX, CAT)]),
    BOTH: ([(LOOSE, DOG, 0.9)], [(BOX, CAT)]),
    DUPLICATE: ([(NEAR, CAT, 0.9), (BOX, CAT, 0.95)], [(BOX, CAT)]),
    BACKGROUND: ([(AWAY, CAT, 0.9)], [(BOX, CAT)]),
}


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: KINDS[kind])
def test_each_kind_of_error(kind: int) -> None:
    rows, objects = CASES[kind]
    boxes = pairs((predicted(*rows), true(*objects)))
    errors = box_errors(boxes)
    assert errors.kinds[0] == kind and (errors.kinds[1:] == -1).all()
    covered = kind in (CLASSIFICATION, LOCALIZATION, DUPLICATE)
    assert errors.missed(1).tolist() == [not covered], "an error of class or location covers its object"
    assert errors.targets[0] == (0 if covered else -1)


def test_classification_goes_before_duplicate_and_location_before_classification() -> None:
    both_near = pairs((predicted((BOX, CAT, 0.9), (NEAR, CAT, 0.8)), true((BOX, CAT), (NEAR, DOG))))
    assert box_errors(both_near).kinds.tolist() == [-1, CLASSIFICATION]
    loose_too = pairs((predicted((BOX, DOG, 0.8)), true((BOX, CAT), (LOOSE, DOG))))
    assert box_errors(loose_too).kinds.tolist() == [LOCALIZATION]


@pytest.mark.parametrize(
    ("kind", "extra", "gained"),
    [
        # one right cat, and a second cat that the error is about; the error comes before the right box
        (CLASSIFICATION, [((200, 0, 300, 90), DOG, 0.95)], 1 - 51 / 101),
        (LOCALIZATION, [((200, 0, 300, 40), CAT, 0.95)], 1 - 51 / 2 / 101),
        (BOTH, [((200, 0, 300, 40), DOG, 0.95)], 0.0),
        (DUPLICATE, [(NEAR, CAT, 0.9), (AWAY, CAT, 0.5)], 1 - (51 + 50 * 2 / 3) / 101),
        (BACKGROUND, [((0, 500, 9, 509), CAT, 0.95)], 51 / 2 / 101),
        (MISSED, [], 1 - 51 / 101),
    ],
)
def test_what_fixing_each_kind_gains(kind: int, extra: list[Predicted], gained: float) -> None:
    boxes = pairs((predicted((BOX, CAT, 0.92), *extra), true((BOX, CAT), (AWAY, CAT))))
    assert gains(boxes, box_errors(boxes), 2)[kind] == pytest.approx(gained)


def test_fixing_a_class_moves_the_box_to_the_right_class() -> None:
    boxes = pairs((predicted((BOX, CAT, 0.9), (AWAY, CAT, 0.8)), true((BOX, CAT), (AWAY, DOG))))
    assert gains(boxes, box_errors(boxes), 2)[CLASSIFICATION] == pytest.approx(0.5), "the dog's AP rises from 0 to 1"


def test_of_two_errors_for_one_object_the_better_is_fixed_and_the_other_removed() -> None:
    rows = (predicted((LOOSE, CAT, 0.9), ((0, 0, 100, 30), CAT, 0.8)), true((BOX, CAT)))
    boxes = pairs(rows)
    assert gains(boxes, box_errors(boxes), 2)[LOCALIZATION] == pytest.approx(1)
    rows = (predicted((LOOSE, CAT, 0.9), (BOX, CAT, 0.8)), true((BOX, CAT)))
    boxes = pairs(rows)
    assert gains(boxes, box_errors(boxes), 2)[LOCALIZATION] == pytest.approx(0.5), "removed: its object has a right box"


def test_a_class_whose_objects_are_all_missed() -> None:
    boxes = pairs((predicted((BOX, CAT, 0.9)), true((BOX, CAT), (AWAY, DOG))))
    assert gains(boxes, box_errors(boxes), 2)[MISSED] == pytest.approx(0.5)


def _scene(draw: np.random.Generator, objects: int, extra: int) -> tuple[DetectPrediction, DetectAnnotation]:
    def boxes(count: int) -> np.ndarray:
        corner = draw.uniform(0, 200, (count, 2))
        return np.concatenate([corner, corner + draw.uniform(4, 200, (count, 2))], axis=1).astype(np.float32)

    annotated, labels = boxes(objects), draw.integers(0, 2, objects)
    near = annotated + draw.normal(0, 8, annotated.shape).astype(np.float32)
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    answers = np.concatenate([near, boxes(extra)])
    ids = np.concatenate([np.where(draw.random(objects) < 0.8, labels, 1 - labels), draw.integers(0, 2, extra)])
    scores = draw.random(len(answers)).astype(np.float32).round(2)  # with ties
    return DetectPrediction(answers, scores, ids, LABELS), DetectAnnotation(
        annotated, labels, draw.random(objects) < 0.2
    )


def test_average_precisions_equal_those_of_the_metrics() -> None:
    draw = np.random.default_rng(0)
    images = [_scene(draw, *sizes) for sizes in [(6, 8), (0, 5), (4, 0), (0, 0), (30, 250), (12, 3)]]
    metric = get_task("detect").metric(LABELS)
    metric.update([prediction for prediction, _ in images], [annotation for _, annotation in images])
    expected = metric.compute()
    rows = block(diagnose(*images), Table, "Classes").rows
    assert [row[2] for row in rows] == pytest.approx([expected["map/cat"], expected["map/dog"]])
    assert np.mean([row[3] for row in rows]) == pytest.approx(expected["map_50"])
    assert np.mean([row[4] for row in rows]) == pytest.approx(expected["map_75"])


def test_confusion_matrix_with_background() -> None:
    rows = (
        predicted((BOX, CAT, 0.9), (AWAY, CAT, 0.8), ((0, 500, 50, 550), DOG, 0.7), ((0, 800, 9, 809), DOG, 0.01)),
        true((BOX, CAT), (AWAY, DOG), ((0, 500, 50, 550), DOG), ((0, 300, 50, 350), DOG)),
    )
    diagnosis = diagnose(rows)
    matrix = block(diagnosis, Matrix, "Confusion matrix")
    assert matrix.rows == ["cat", "dog", "background"]
    assert diagnosis.thresholds == {"cat": pytest.approx(0.85), "dog": pytest.approx(0.355)}
    assert matrix.counts.tolist() == [[1, 0, 0], [0, 1, 2], [0, 0, 0]], "the second cat is below the best threshold"
    low = diagnose((predicted((BOX, CAT, 0.5), (AWAY, CAT, 0.6)), true((BOX, CAT), (AWAY, DOG))))
    matrix = block(low, Matrix, "Confusion matrix")
    assert matrix.counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    background = diagnose((predicted((BOX, CAT, 0.5), (AWAY, CAT, 0.6)), true((BOX, CAT))))
    assert block(background, Matrix, "Confusion matrix").counts[2].tolist() == [1, 0, 0]


def test_table_curves_and_calibration() -> None:
    diagnosis = diagnose((predicted((BOX, CAT, 0.9), (AWAY, CAT, 0.6)), true((BOX, CAT), ((0, 500, 50, 550), CAT))))
    cat, dog = block(diagnosis, Table, "Classes").rows
    assert cat[0:2] == ["cat", 2] and cat[3] == pytest.approx(51 / 101)
    assert cat[5:] == [1.0, 0.5, pytest.approx(2 / 3), pytest.approx(0.75)]
    assert dog == ["dog", 0, None, None, None, None, None, None, None]
    assert [curve.name for curve in block(diagnosis, LineChart, "Precision and recall").curves] == ["cat"]
    assert f"{(0.1 + 0.6) / 2:.3f}" in block(diagnosis, LineChart, "Calibration").text


def test_objects_by_size() -> None:
    small, medium = (0, 0, 20, 20), (200, 200, 250, 250)
    diagnosis = diagnose(
        (
            predicted((small, CAT, 0.9), (medium, DOG, 0.9)),
            true((small, CAT), (medium, CAT), ((300, 300, 500, 500), CAT)),
        )
    )
    rows = [row[1:] for row in block(diagnosis, Table, "Objects by size").rows]
    assert rows == [[1, 1.0, 1.0, 0, 0], [1, 0.0, 0.0, 0, 1], [1, 0.0, 0.0, 1, 0]]


def test_crowds_are_ignored() -> None:
    inside = ((10, 10, 40, 40), CAT, 0.9)
    diagnosis = diagnose(
        (predicted(inside), true((BOX, CAT), crowd=(True,))), (predicted((BOX, CAT, 0.5)), true((BOX, CAT)))
    )
    assert diagnosis.image_losses == pytest.approx([0, 0.5 / 1.5])
    assert list(diagnosis.image_texts) == ["no object, none predicted", "all 1 right"]
    assert block(diagnosis, Table, "Classes").rows[0][2] == 1 and not diagnosis.likely_wrong
    assert not any(block(diagnosis, BarChart, "What fixing").bars.values())


def test_losses_and_texts_of_images() -> None:
    right = predicted((BOX, CAT, 0.8), (AWAY, DOG, 0.6))
    images = [
        (right, true((BOX, CAT), (AWAY, DOG))),
        (predicted((BOX, CAT, 0.9), (NEAR, CAT, 0.85)), true((BOX, CAT), (AWAY, DOG), ((0, 500, 50, 550), DOG))),
        (predicted(), true((BOX, CAT))),
        (predicted(), true()),
        (predicted(((0, 500, 50, 550), DOG, 0.7)), true()),
    ]
    diagnosis = diagnose(*images)
    assert diagnosis.image_losses == pytest.approx([0.6 / (2.8 + 0.6), 2.95 / (1.8 + 2.95), 1, 0, 1])
    texts = ["all 2 right", "2 missed, 1 duplicate", "1 missed", "no object, none predicted", "1 on background"]
    assert list(diagnosis.image_texts) == texts


def _confident(*rows: Predicted) -> tuple[DetectPrediction, DetectAnnotation]:
    """An image with a right cat and a right dog, far from everything else, by which scores of 0.6 are confident."""
    far, farther = (5000, 0, 5100, 100), (6000, 0, 6100, 100)
    return predicted((far, CAT, 0.6), (farther, DOG, 0.6), *rows), true((far, CAT), (farther, DOG))


@pytest.mark.parametrize(
    ("rows", "objects", "text", "confidence", "box"),
    [
        ([(BOX, CAT, 0.9)], [], "not labeled, predicted cat (0.90)", 0.9, BOX),
        ([(NEAR, DOG, 0.9)], [(BOX, CAT)], "labeled cat, predicted dog (0.90)", 0.9, BOX),
        ([(LOOSE, CAT, 0.9)], [(BOX, CAT)], "box of cat overlaps the prediction (0.90) with an IoU of 0.40 only", 0.54, BOX),
        ([(AWAY, CAT, 0.05)], [(BOX, CAT)], "labeled cat, nothing predicted there", 0.5, BOX),
    ],
    ids=["missing", "class", "location", "nothing there"],
)  # fmt: skip
def test_each_kind_of_likely_wrong_label(
    rows: list[Predicted], objects: list[True_], text: str, confidence: float, box: tuple[int, ...]
) -> None:
    diagnosis = diagnose(_confident(), (predicted(*rows), true(*objects)))
    (wrong,) = diagnosis.likely_wrong
    assert (wrong.image, wrong.text, wrong.box) == (1, text, box)
    assert wrong.confidence == pytest.approx(confidence)


@pytest.mark.parametrize(
    ("rows", "objects", "crowd"),
    [
        ([(BOX, CAT, 0.5)], [], ()),  # not confident
        ([(BOX, CAT, 0.9)], [(BOX, DOG)], (True,)),  # in a crowd, of another class too
        ([(NEAR, DOG, 0.9), (BOX, CAT, 0.95)], [(BOX, CAT)], ()),  # its class is predicted with a higher score
        ([(LOOSE, CAT, 0.9), (NEAR, CAT, 0.61)], [(BOX, CAT)], ()),  # another box fits
        ([(LOOSE, DOG, 0.3)], [(BOX, CAT)], ()),  # something is predicted there
    ],
)
def test_no_likely_wrong_label(rows: list[Predicted], objects: list[True_], crowd: tuple[bool, ...]) -> None:
    boxes = pairs(_confident(), (predicted(*rows), true(*objects, crowd=crowd)))
    assert not wrong_boxes(boxes, box_errors(boxes), LABELS.classes)


def test_an_object_is_listed_once() -> None:
    rows = [(BOX, CAT, 0.9), (NEAR, CAT, 0.8), (AWAY, CAT, 0.7)]
    diagnosis = diagnose(_confident(), (predicted(*rows), true()))
    assert [wrong.confidence for wrong in diagnosis.likely_wrong] == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize("images", [[], [(predicted(), true())], [(predicted(), true((BOX, CAT)))]])
def test_without_boxes(images: list[Any]) -> None:
    diagnosis = diagnose(*images)
    assert len(diagnosis.image_losses) == len(diagnosis.image_texts) == len(images)
    assert diagnosis.thresholds == {} and block(diagnosis, Matrix, "Confusion").counts.shape == (3, 3)
