"""Predictions of the detect task."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.detect.draw import _tag_corners
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.predictions import from_decoded
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.palette import color

LABELS = DetectLabels(("RBC", "WBC"))


def _prediction(boxes: list[list[float]], scores: list[float], labels: list[int]) -> DetectPrediction:
    return DetectPrediction(
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
        np.asarray(scores, dtype=np.float32),
        np.asarray(labels, dtype=np.int64),
        LABELS,
    )


TWO = _prediction([[10, 20, 110, 220], [30, 30, 40, 50]], [0.75, 0.25], [1, 0])


def test_a_filter_keeps_the_sure_ones() -> None:
    sure = TWO.filter(min_score=0.5)
    assert (len(TWO), len(sure), sure.class_names, sure.draw_threshold) == (2, 1, ["WBC"], 0.5)


def test_dict_is_json_with_names() -> None:
    read = json.loads(json.dumps(TWO.filter(min_score=0.5).to_dict()))
    wanted = {"class_name": "WBC", "class_id": 1, "score": 0.75, "box": [10, 20, 110, 220]}
    assert read == {"task": "detect", "objects": [wanted]}


def test_coco_results() -> None:
    assert TWO.to_coco(7)[0] == {"image_id": 7, "category_id": 1, "bbox": [10, 20, 100, 200], "score": 0.75}
    assert [row["category_id"] for row in TWO.to_coco("a", category_ids=[11, 90])] == [90, 11]
    json.dumps(TWO.to_coco(7, category_ids=[11, 90]))


def test_supervision_is_given_its_own_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=lambda **fields: fields))
    fields = TWO.to_supervision()
    assert np.array_equal(fields["xyxy"], TWO.boxes) and fields["confidence"].tolist() == [0.75, 0.25]
    assert fields["class_id"].tolist() == [1, 0] and fields["data"]["class_name"].tolist() == ["WBC", "RBC"]


def test_without_supervision_the_error_tells_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match=r"needs the package 'supervision': pip install '.\[supervision\]'"):
        TWO.to_supervision()


def test_lengths_must_fit() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 4\), \(2,\), \(1,\)"):
        _prediction([[0, 0, 1, 1]], [0.5, 0.5], [0])


def test_from_decoded_goes_back_to_the_image() -> None:
    # 200 high, 400 wide, on 100 x 100: half size at the top left, fill below row 50
    transform = ResizeSpec((100, 100)).transform(200, 400)
    boxes = [[10, 5, 40, 60], [0, 12.5, 25, 25], [10, 60, 20, 70], [1, 1, 2, 2]]
    decoded = (np.asarray(boxes), np.asarray([0.9, 0.8, 0.7, 0]), np.asarray([1, 0, 1, -1]), np.asarray(3))
    canvas_boxes = from_decoded(decoded, transform, LABELS, "a.jpg")
    assert canvas_boxes.boxes.tolist() == [[40, 20, 160, 200], [0, 50, 100, 100]]
    assert canvas_boxes.scores.tolist() == pytest.approx([0.9, 0.8])
    assert (canvas_boxes.class_ids.tolist(), canvas_boxes.image, canvas_boxes.boxes.dtype) == (
        [1, 0],
        "a.jpg",
        np.float32,
    )


def test_from_decoded_of_nothing() -> None:
    decoded = (np.zeros((5, 4)), np.zeros(5), np.full(5, -1), np.asarray(0))
    assert len(from_decoded(decoded, ResizeSpec((100, 100)).transform(64, 64), LABELS)) == 0


def test_boxes_are_drawn_where_they_are() -> None:
    picture = np.asarray(TWO.draw(Image.new("RGB", (400, 400), "white")))
    assert tuple(picture[120, 10]) == color(1) and tuple(picture[219, 60]) == color(1)
    assert tuple(picture[120, 60]) == (255, 255, 255)
    assert not (picture == color(0)).all(axis=-1).any()  # below draw_threshold


def test_small_images_are_enlarged_with_their_boxes() -> None:
    tiny = _prediction([[16, 16, 32, 48]], [0.9], [0])
    picture = np.asarray(tiny.draw(Image.new("RGB", (64, 64), "white")))
    assert picture.shape == (320, 320, 3)
    assert tuple(picture[160, 80]) == color(0) and tuple(picture[239, 120]) == color(0)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (1, 900), (900, 1)])
def test_anything_can_be_drawn(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    _prediction([], [], []).draw(image)
    _prediction([[0, 0, 0, 0], [-5, -5, 999, 999], [0, 0, 1, 1]], [1, 0.9, 0.8], [0, 1, 1]).draw(image)


def test_tags_stay_inside_and_apart() -> None:
    boxes = np.asarray([[0, 0, 50, 50], [0, 0, 50, 50], [80, 90, 100, 100]])
    places = _tag_corners(boxes, [(40, 10)] * 3, (100, 100))
    assert places == [(0, 0), (0, 50), (60, 80)]


def test_the_image_given_is_left_as_it_was() -> None:
    image = Image.new("RGB", (400, 400), "white")
    TWO.draw(image)
    assert image.getcolors() == [(400 * 400, (255, 255, 255))]
