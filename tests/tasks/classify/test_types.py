"""Predictions of the classify task."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.predictions import from_decoded
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.palette import color

LABELS = ClassifyLabels(("dog", "cat", "tiger"))


def _prediction(*probabilities: float, labels: ClassifyLabels = LABELS) -> ClassifyPrediction:
    return ClassifyPrediction(np.asarray(probabilities, dtype=np.float32), labels)


def test_top_is_best_first() -> None:
    prediction = _prediction(0.25, 0.5, 0.25)
    assert prediction.top(2) == [("cat", 0.5), ("dog", 0.25)]
    assert len(prediction.top(9)) == 3


def test_dict_is_json_with_names() -> None:
    read = json.loads(json.dumps(_prediction(0.25, 0.5, 0.25).to_dict()))
    assert read == {
        "task": "classify",
        "objects": [
            {"class_name": "cat", "class_id": 1, "score": 0.5},
            {"class_name": "dog", "class_id": 0, "score": 0.25},
            {"class_name": "tiger", "class_id": 2, "score": 0.25},
        ],
        "probabilities": {"dog": 0.25, "cat": 0.5, "tiger": 0.25},
    }
    many = _prediction(0.75, 0.5, 0.25, labels=ClassifyLabels(LABELS.classes, exclusive=False))
    assert many.filter(min_score=0.5).class_names == ["dog", "cat"]


def test_a_dictionary_lists_the_best_five() -> None:
    many = _prediction(*(np.arange(9) / 8), labels=ClassifyLabels(tuple("abcdefghi")))
    assert [entry["class_name"] for entry in many.to_dict()["objects"]] == list("ihgfe")
    assert list(many.to_dict()["probabilities"]) == list("abcdefghi") == list(many[1:].to_dict()["probabilities"])


def test_probabilities_must_fit_the_classes() -> None:
    with pytest.raises(ValueError, match=r"3 classes, but probabilities of \(2,\)"):
        _prediction(0.5, 0.5)


def test_from_decoded() -> None:
    made = from_decoded((np.asarray([0, 1, 0]),), SimpleNamespace(), LABELS, "a.jpg")
    assert made.top(1) == [("cat", 1.0)]
    assert (made.probabilities.dtype, made.image) == (np.float32, "a.jpg")


def test_the_bar_is_as_long_as_the_probability() -> None:
    picture = np.asarray(_prediction(0.0, 1.0, 0.0).draw(Image.new("RGB", (640, 480))))
    assert picture.shape[0] > 480 and picture.shape[1] == 640
    cat = (picture == color(1)).all(axis=-1)[480:]
    assert cat.sum(axis=1).max() > 200
    assert not (picture == color(0)).all(axis=-1).any()


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (1, 900), (900, 1)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    _prediction(0.2, 0.3, 0.5).draw(Image.new("RGB", size))
