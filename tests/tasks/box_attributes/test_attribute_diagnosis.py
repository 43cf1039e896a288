"""What a report shows of attributes, their temperature, and arrays of boxes that have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation
from vertebra.tasks.box_attributes.diagnosis import AttributeDiagnosis
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.matching import confidences
from vertebra.tasks.box_attributes.targets import AttributeDecoded
from vertebra.tasks.box_attributes.task import ATTRIBUTES
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.boxes_with_attributes import BoxesWithAttributes
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.diagnosis import Matrix, Table

LABELS = AttributeLabels(("blue", "red"), attribute="color", box_classes=("car", "bus"))
TAGS = AttributeLabels(("old", "torn"), True, "tags", ("car", "bus"))
BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], dtype=np.float32)
SCORES = np.array([0.9, 0.8, 0.7, 0.6], dtype=np.float32)


def case(
    values: np.ndarray, probabilities: list[list[float]], labels: AttributeLabels
) -> tuple[AttributePrediction, AttributeAnnotation]:
    """Four boxes on four objects, of which the third box has another class, and the last object no value."""
    objects = DetectAnnotation(BOXES, np.array([0, 0, 1, 0]), np.zeros(4, dtype=bool))
    rows = np.array(probabilities, dtype=np.float32)
    return AttributePrediction(BOXES, SCORES, np.zeros(4, np.int64), rows, labels), AttributeAnnotation(objects, values)


def test_values_of_matched_objects_are_diagnosed() -> None:
    prediction, annotation = case(np.array([0, 1, 1, -1]), [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.5, 0.5]], LABELS)
    empty = AttributeAnnotation(
        DetectAnnotation(BOXES[:0], np.zeros(0, np.int64), np.zeros(0, dtype=bool)), np.zeros(0, np.int64)
    )
    diagnosis = AttributeDiagnosis(LABELS)
    diagnosis.update([prediction, prediction[:0]], [annotation, empty])
    shown = diagnosis.compute()
    matched, by_value = (block for block in shown.blocks if isinstance(block, Table))
    assert matched.rows == [["blue", 1, 1, 1.0], ["red", 2, 1, 0.5]]
    assert list(by_value.columns[:2]) == ["class", "objects"] and [row[1] for row in by_value.rows] == [1, 1]
    (matrix,) = (block for block in shown.blocks if isinstance(block, Matrix))
    assert matrix.title == "Confusion matrix (objects)" and matrix.counts.tolist() == [[1, 0], [1, 0]]
    assert shown.image_losses == pytest.approx([-np.log([0.9, 0.2]).sum() / 2, 0])
    assert shown.image_texts == [
        "2 of 3 objects matched, 1 wrong: red (0.20), predicted blue (0.80)",
        "0 of 0 objects matched",
    ]
    assert AttributeDiagnosis(LABELS).compute().image_texts == []


def test_several_values_are_diagnosed_by_decision() -> None:
    values = np.array([[1, 0], [0, 0], [1, 1], [-1, -1]], dtype=np.int8)
    prediction, annotation = case(values, [[0.9, 0.1], [0.3, 0.6], [0.9, 0.9], [0.5, 0.5]], TAGS)
    diagnosis = AttributeDiagnosis(TAGS)
    diagnosis.update([prediction], [annotation])
    shown = diagnosis.compute()
    assert shown.image_texts == ["2 of 3 objects matched, 1 wrong: not annotated: torn (0.60)"]
    rows = confidences(prediction, annotation)
    np.testing.assert_allclose(rows.probabilities[:, 1], [0.9, 0.1, 0.3, 0.6], rtol=1e-6)
    assert rows.right.tolist() == [1, 0, 0, 0]


def test_a_value_that_is_likely_wrong_is_named_with_its_box() -> None:
    values = np.array([0, 0, 1, 1])
    sure = [[0.95, 0.05], [0.95, 0.05], [0.05, 0.95], [0.05, 0.95]]
    objects = DetectAnnotation(BOXES, np.zeros(4, np.int64), np.zeros(4, dtype=bool))
    prediction = AttributePrediction(BOXES, SCORES, np.zeros(4, np.int64), np.array(sure, np.float32), LABELS)
    diagnosis = AttributeDiagnosis(LABELS)
    diagnosis.update(
        [prediction] * 8,
        [AttributeAnnotation(objects, values)] * 7 + [AttributeAnnotation(objects, values[[0, 2, 2, 3]])],
    )
    (label,) = diagnosis.compute().likely_wrong
    assert label.image == 7 and label.box == (20, 0, 30, 10) and label.text == "labeled red, predicted blue (0.95)"


@pytest.mark.parametrize("multilabel", [False, True])
def test_a_temperature_divides_the_logits(multilabel: bool) -> None:
    logits = torch.tensor([[[2.0, -1.0, 0.5], [0.0, 3.0, 1.0], [0.0, 0.0, 0.0]]])
    to_probabilities = torch.sigmoid if multilabel else lambda values: values.softmax(-1)
    probabilities, expected = to_probabilities(logits), to_probabilities(logits / 2)
    probabilities[:, 2] = expected[:, 2] = 0  # padding
    decoded = AttributeDecoded(
        torch.zeros(1, 3, 4), torch.ones(1, 3), torch.zeros(1, 3), torch.tensor([2]), probabilities
    )
    assert ATTRIBUTES.temper is not None
    tempered = ATTRIBUTES.temper(decoded, AttributeLabels(("a", "b", "c"), multilabel), 2.0)
    torch.testing.assert_close(tempered.probabilities, expected)


def test_an_array_of_boxes_has_their_attributes() -> None:
    prediction, _ = case(np.zeros(4, np.int64), [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6]], LABELS)
    boxes = BoxesWithAttributes.of(BOXES, {"color": prediction})
    assert boxes[0].attributes["color"].value == "blue" and boxes[0].tolist() == BOXES[0].tolist()
    assert boxes[1:3].attributes["color"].values == boxes[[1, 2]].attributes["color"].values == ["red", "red"]
    assert [box.attributes["color"].value for box in boxes] == ["blue", "red", "red", "red"]
    assert boxes[boxes[:, 0] > 30].attributes["color"].values == ["red", "red"]
    assert isinstance(boxes[0, 1], np.float32) and not boxes[:, 0].attributes
    assert not boxes[0][:2].attributes
    assert type(boxes * 2) is np.ndarray and isinstance(boxes.max(), np.floating), "results are as of any array"
    boxes *= 1
    assert boxes[1].attributes["color"].value == prediction[1].value
