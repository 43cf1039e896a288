"""Labels, predictions and pictures of points."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.keypoints.labels import COCO_POINTS, COCO_SIGMAS, SIGMA, KeypointLabels
from vertebra.tasks.keypoints.predictions import from_decoded
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.palette import color

LABELS = KeypointLabels(("fish",), ("head", "tail"), skeleton=((0, 1),))


def prediction(**changes: Any) -> KeypointPrediction:
    given: dict[str, Any] = {
        "points": np.array([[[20, 20], [60, 40]], [[5, 5], [9, 9]]], dtype=np.float32),
        "point_scores": np.array([[0.9, 0.8], [0.1, 0.2]], dtype=np.float32),
        "boxes": np.array([[10, 10, 70, 50], [0, 0, 10, 10]], dtype=np.float32),
        "scores": np.array([0.85, 0.15], dtype=np.float32),
        "class_ids": np.array([0, 0]),
        "spec": LABELS,
    }
    return KeypointPrediction(**{**given, **changes})


def test_sigmas_by_default() -> None:
    assert KeypointLabels(("person",), COCO_POINTS).oks_sigmas == COCO_SIGMAS
    assert LABELS.oks_sigmas == (SIGMA, SIGMA)
    assert KeypointLabels(("fish",), ("head", "tail"), sigmas=(0.1, 0.2)).oks_sigmas == (0.1, 0.2)


def test_lists_become_tuples() -> None:
    labels = KeypointLabels(("fish",), ["head", "tail"], [[0, 1]], [[0, 1]], [0.1, 0.2])  # type: ignore[arg-type]
    assert labels == KeypointLabels(("fish",), ("head", "tail"), ((0, 1),), ((0, 1),), (0.1, 0.2))
    hash(labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": ()}, "'points' is empty"),
        ({"sigmas": (0.1,)}, "one value for each point: got 1 for 2"),
        ({"sigmas": (0.1, 0.0)}, "'sigmas' must be above 0"),
        ({"skeleton": ((0, 2),)}, "has point 2, but there are 2 points, counted from 0"),
        ({"skeleton": ((-1, 0),)}, "has point -1, but there are 2 points"),
        ({"flip_pairs": [[0, 3]]}, "has point 3"),
        ({"flip_pairs": ((0, 1), (1, 0))}, "'flip_pairs' has point 'head' twice"),
        ({"flip_pairs": (("head", "tial"),)}, "'flip_pairs' has point 'tial', .* Did you mean 'tail'"),
        ({"skeleton": (("haed", 1),)}, "'skeleton' has point 'haed'"),
        ({"points": ("head", "head")}, "these are repeated in 'points': head"),
    ],
)
def test_wrong_labels(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        KeypointLabels(**{"classes": ("fish",), "points": ("head", "tail"), **options})


def test_a_branch_takes_what_it_was_not_given_from_the_data() -> None:
    data = KeypointLabels(
        ("fish",), ("head", "left_fin", "right_fin"), ((0, 1), (0, 2)), ((1, 2),), sigmas=(0.1, 0.2, 0.3)
    )
    assert data.fields_for({"sigmas": [1, 1, 1]}) == {
        "points": data.points, "skeleton": data.skeleton, "flip_pairs": data.flip_pairs,
    }  # fmt: skip
    other = data.fields_for({"points": ["right_fin", "tail", "left_fin"]})
    assert other == {"skeleton": (), "flip_pairs": ((2, 0),), "sigmas": (0.3, SIGMA, 0.2)}
    fewer = data.fields_for({"points": ["left_fin", "head"]})
    assert fewer == {"skeleton": ((1, 0),), "flip_pairs": None, "sigmas": (0.2, 0.1)}, "the fin's partner is gone"
    middle = data.fields_for({"points": ["head"]})
    assert middle == {"skeleton": (), "flip_pairs": (), "sigmas": (0.1,)}, "what is left lies on the mid-line"
    people = KeypointLabels(("person",), COCO_POINTS).fields_for({"points": ["left_hip", "nose", "hat"]})
    assert people["sigmas"] == (0.107, 0.026, SIGMA)
    assert LABELS.fields_for({"points": ["left_eye", "right_eye"]}) == {
        "skeleton": (), "flip_pairs": ((0, 1),), "sigmas": (),
    }  # fmt: skip


def test_points_of_pairs_may_be_named() -> None:
    labels = KeypointLabels(("fish",), ("head", "1", "fin"), [["head", 1]], [["1", "fin"]])  # type: ignore[arg-type]
    assert labels.skeleton == ((0, 1),) and labels.flip_pairs == ((1, 2),), "a text is a name, a number an id"


def test_unknown_pairs_differ_from_none_at_all() -> None:
    assert LABELS.flip_pairs is None and "flip_pairs: []" in str(LABELS.mirror_refusal)
    with pytest.raises(ValueError, match="cannot be mirrored"):
        _ = LABELS.mirrored
    harmless = KeypointLabels(("fish",), ("head", "tail"), flip_pairs=())
    assert harmless.mirrored == [0, 1] and harmless.mirror_refusal is None
    assert LABELS.fields_for({})["flip_pairs"] is None and harmless.fields_for({})["flip_pairs"] == ()
    assert "flip_pairs" not in LABELS.fields_for({"flip_pairs": None}), "said to be unknown"


def test_from_decoded_goes_back_to_the_image() -> None:
    transform = ResizeSpec((50, 50)).transform(100, 80)  # half the size
    decoded = (
        np.array([[[10, 10], [30, 20]], [[0, 0], [0, 0]]], dtype=np.float32),
        np.array([[0.9, 0.8], [0, 0]], dtype=np.float32),
        np.array([[5, 5, 45, 25], [0, 0, 0, 0]], dtype=np.float32),
        np.array([0.85, 0], dtype=np.float32),
        np.array([0, -1]),
        np.array(1),
    )
    found = from_decoded(decoded, transform, LABELS)
    assert len(found) == 1 and found.class_names == ["fish"]
    np.testing.assert_allclose(found.points, [[[20, 20], [60, 40]]])
    np.testing.assert_allclose(found.boxes, [[10, 10, 80, 50]])


def test_dictionary_and_coco_results() -> None:
    found = prediction().filter(min_score=0.5)
    assert len(found) == 1 and found.draw_threshold == 0.5
    shown = json.loads(json.dumps(found.to_dict()))
    assert shown["task"] == "keypoints" and shown["objects"][0]["points"]["tail"] == pytest.approx([60, 40, 0.8])
    (entry,) = found.to_coco(7, [3])
    assert entry["image_id"] == 7 and entry["category_id"] == 3
    assert entry["keypoints"] == pytest.approx([20, 20, 0.9, 60, 40, 0.8])
    assert found.filter(min_score=1).to_coco(7, [3]) == []


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        prediction(point_scores=np.zeros((2, 3), dtype=np.float32))


def test_the_picture_shows_points_and_lines_of_what_is_sure() -> None:
    plain = Image.new("RGB", (1600, 1200), (200, 200, 200))
    found = prediction(points=prediction().points * 20)
    whole = np.asarray(found.draw(plain))
    drawn, legend = whole[:1200], whole[1200:]
    assert whole.shape[1] == 1600 and 40 < len(legend) < 120
    for point in (0, 1):
        assert (legend == color(point)).all(axis=-1).sum() > 200, "each point's color stands beside its name"
    assert tuple(drawn[400, 400]) == color(0) and tuple(drawn[800, 1200]) == color(1)
    assert tuple(drawn[600, 800]) == color(1), "the line between them"
    assert (drawn[:240, :240] == 200).all(), "the doubtful object is not shown"
    assert np.asarray(found.filter(min_score=0.99).draw(plain)).shape == (1200, 1600, 3), "nothing to name"
