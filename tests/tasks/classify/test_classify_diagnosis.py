"""The diagnosis of classifiers, equal to numbers computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vertebra.errors import DataError
from vertebra.tasks import get_task
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.diagnosis import Diagnosis, LineChart, Matrix, Table

ROWS = [[0.9, 0.1, 0], [0.6, 0.4, 0], [0.05, 0.95, 0], [0.9, 0.1, 0], [0.3, 0.7, 0]]
TRUE = [0, 1, 1, 1, 1]


def diagnose(rows: list[list[float]], true: list[Any], labels: ClassifyLabels) -> Diagnosis:
    diagnoser = get_task("classify").diagnoser
    assert diagnoser is not None
    diagnosis = diagnoser(labels)
    for start, end in ((0, 2), (2, None)):  # in two batches
        diagnosis.update(
            [ClassifyPrediction(np.array(row, dtype=np.float32), labels) for row in rows[start:end]],
            [ClassifyAnnotation(label) for label in true[start:end]],
        )
    return diagnosis.compute()


def block(diagnosis: Diagnosis, kind: type, title: str) -> Any:
    (one,) = [each for each in diagnosis.blocks if isinstance(each, kind) and each.title.startswith(title)]
    return one


def test_exclusive_classes() -> None:
    diagnosis = diagnose(ROWS, TRUE, ClassifyLabels(("cat", "dog", "hen")))
    cat, dog, hen = block(diagnosis, Table, "Classes").rows
    assert cat[:5] == ["cat", 1, pytest.approx(1 / 3), 1.0, pytest.approx(0.5)]
    assert dog[:5] == ["dog", 4, 1.0, 0.5, pytest.approx(2 / 3)]
    assert hen == ["hen", 0, None, None, None, None, None]
    assert dog[5] == pytest.approx(0.25 * (1 + 1 + 1 + 4 / 5)), "the last dog is level with the cat"
    matrix = block(diagnosis, Matrix, "Confusion matrix")
    assert matrix.counts.tolist() == [[1, 0, 0], [2, 2, 0], [0, 0, 0]]
    assert diagnosis.image_losses == pytest.approx(-np.log([0.9, 0.4, 0.95, 0.1, 0.7]), rel=1e-5)
    assert diagnosis.image_texts[0] == "cat (0.90)"
    assert diagnosis.image_texts[3] == "dog (0.10), predicted cat (0.90)"
    assert diagnosis.thresholds == {"cat": pytest.approx(0.75), "dog": pytest.approx(0.1)}


def test_calibration_of_the_predicted_class() -> None:
    diagnosis = diagnose(ROWS, TRUE, ClassifyLabels(("cat", "dog", "hen")))
    chart = block(diagnosis, LineChart, "Calibration")
    # 0.9 twice, one right; 0.6 wrong; 0.7 right; 0.95 right
    error = (abs(1.8 - 1) + 0.6 + 0.3 + 0.05) / 5
    assert f"{error:.3f}" in chart.text and chart.diagonal


def test_likely_wrong_classes() -> None:
    diagnosis = diagnose(ROWS, TRUE, ClassifyLabels(("cat", "dog", "hen")))
    # a third of the dogs that are confidently of a class are cats, so 4 / 3 labels are estimated to be wrong
    first, second = diagnosis.likely_wrong
    assert first.image == 3 and first.confidence == pytest.approx(0.9) and first.box is None
    assert first.text == "labeled dog, predicted cat (0.90)"
    assert second.image == 1 and second.confidence == pytest.approx(0.6)


def test_overlapping_classes() -> None:
    labels = ClassifyLabels(("cat", "dog"), multilabel=True)
    rows = [[0.9, 0.2], [0.8, 0.6], [0.1, 0.9], [0.7, 0.1]]
    true = [np.array(label) for label in ([1, 0], [1, 1], [1, 0], [0, 0])]
    diagnosis = diagnose(rows, true, labels)
    cat, dog = block(diagnosis, Table, "Classes").rows
    assert cat[:5] == ["cat", 3, pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert dog[:5] == ["dog", 1, 0.5, 1.0, pytest.approx(2 / 3)]
    matrix = block(diagnosis, Matrix, "Confusion matrix")
    assert matrix.rows == ["cat", "dog", "nothing"]
    assert matrix.counts.tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 0]]
    expected = [[0.9, 0.8], [0.8, 0.6], [0.1, 0.1], [0.3, 0.9]]
    assert diagnosis.image_losses == pytest.approx(-np.log(expected).mean(axis=1), rel=1e-5)
    assert list(diagnosis.image_texts) == [
        "all classes right",
        "all classes right",
        "missed: cat (0.10); not annotated: dog (0.90)",
        "not annotated: cat (0.70)",
    ]
    # cat: present 0.6 on average, absent 0.3; dog: present 0.6, absent 0.6
    texts = {wrong.image: wrong.text for wrong in diagnosis.likely_wrong}
    assert "not labeled dog, predicted with probability 0.90" in [wrong.text for wrong in diagnosis.likely_wrong]
    assert set(texts) == {2, 3}


@pytest.mark.parametrize("multilabel", [False, True])
def test_without_images(multilabel: bool) -> None:
    diagnosis = diagnose([], [], ClassifyLabels(("cat", "dog"), multilabel=multilabel))
    assert not len(diagnosis.image_losses) and not diagnosis.image_texts and not diagnosis.likely_wrong
    assert [row[1] for row in block(diagnosis, Table, "Classes").rows] == [0, 0]


def test_one_class_only() -> None:
    diagnosis = diagnose([[1.0], [1.0]], [0, 0], ClassifyLabels(("cat",)))
    assert block(diagnosis, Table, "Classes").rows == [["cat", 2, 1.0, 1.0, 1.0, 1.0, 1.0]]
    assert diagnosis.image_losses.tolist() == [0, 0] and not diagnosis.likely_wrong


@pytest.mark.parametrize(("label", "multilabel"), [(2, False), (-1, False), (np.array([0.3, 0.7]), False), (1, True)])
def test_a_label_that_is_none_is_refused(label: Any, multilabel: bool) -> None:
    with pytest.raises(DataError, match="label"):
        diagnose([[0.5, 0.5]], [label], ClassifyLabels(("cat", "dog"), multilabel=multilabel))
