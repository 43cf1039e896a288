"""A result: its branches by name, and the fields of the only one directly."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.errors import MissingFieldError, UnknownName
from vertebra.inference.io.video import FrameInfo
from vertebra.inference.results import Result
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.prediction import FIELDS

CLASSES = ("dog", "cat")
BOXES = DetectPrediction(
    np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32),
    np.array([0.75, 0.5], np.float32),
    np.array([0, 1]),
    DetectLabels(CLASSES),
    np.zeros((48, 64, 3), np.uint8),
)
ANIMAL = ClassifyPrediction(np.array([0.25, 0.75], np.float32), ClassifyLabels(CLASSES))
ONE = Result({"boxes": BOXES}, Path("a.jpg"), (48, 64))
TWO = Result({"boxes": BOXES, "animal": ANIMAL}, None, (48, 64))
CALLS = {
    "len": len,
    "iter": lambda result: [one.to_dict() for one in result],
    "index": lambda result: result[0].to_dict(),
    "mask": lambda result: result[[False, True]].to_dict(),
    "slice": lambda result: result[1:].to_dict(),
    "filter": lambda result: result.filter(min_score=0.6, classes="dog").to_dict(),
    "draw": lambda result: result.draw().tobytes(),
    "draw on": lambda result: result.draw(Image.new("RGB", (64, 48), "white")).tobytes(),
    "to_coco": lambda result: result.to_coco(3, [7, 9]),
    "draw_threshold": lambda result: result.draw_threshold,
    **{name: lambda result, name=name: np.asarray(getattr(result, name)).tolist() for name in FIELDS[:4]},
}


@pytest.mark.parametrize("name", CALLS)
def test_the_only_branch_gives_its_fields(name: str) -> None:
    assert CALLS[name](ONE) == CALLS[name](BOXES)
    with pytest.raises(
        MissingFieldError, match=r"has 2 branches; take one of them: result\['boxes'\] or result\['animal'\]"
    ):
        CALLS[name](TWO)
    with pytest.raises(MissingFieldError, match="this result has no prediction"):
        CALLS[name](Result({}, None, (48, 64)))


def test_what_the_task_has_not_is_its_error() -> None:
    assert hasattr(ONE, "boxes") and not hasattr(ONE, "masks") and not hasattr(TWO, "boxes")
    with pytest.raises(MissingFieldError, match="a detect prediction has no 'points'"):
        ONE.points  # noqa: B018
    animal = Result({"animal": ANIMAL}, None, (48, 64))
    assert animal.top() == [("cat", 0.75)] and animal.probabilities.tolist() == [0.25, 0.75]
    with pytest.raises(MissingFieldError, match="COCO has no results for a classify prediction"):
        animal.to_coco(3)


def test_branches_are_found_by_name() -> None:
    for result in (ONE, TWO):
        assert result["boxes"] is BOXES and "boxes" in result and "dog" not in result
        assert dict(result.items()) == {name: result[name] for name in result.keys()}  # noqa: SIM118
        assert {**result} == dict(zip(result.keys(), result.values(), strict=True))
    with pytest.raises(UnknownName, match=r"unknown branch of this result 'box'. Did you mean 'boxes'\?"):
        TWO["box"]


def test_the_text_has_the_image_and_what_is_in_it() -> None:
    assert repr(ONE) == "<a.jpg, 64x48; boxes: 2 boxes: dog 0.75, cat 0.50>"
    assert repr(TWO) == "<image, 64x48; boxes: 2 boxes: dog 0.75, cat 0.50; animal: 2 classes: cat 0.75, dog 0.25>"
    frame = Result({"boxes": BOXES[:0]}, Path("a.mp4"), (48, 64), FrameInfo(Path("a.mp4"), 12, 0.5, 25.0))
    assert repr(frame) == "<a.mp4 frame 12, 64x48; boxes: no boxes>"
    assert repr(Result({}, None, (2, 1))) == "<image, 1x2; no prediction>"


def test_results_can_be_sent_and_copied() -> None:
    for result in (ONE, TWO):
        for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
            assert other.to_dict() == result.to_dict() and other.path == result.path


def test_a_result_is_true() -> None:
    nothing = Result({"boxes": BOXES.filter(min_score=1.0)}, None, (48, 64))
    assert len(nothing) == 0 and all([ONE, TWO, nothing, Result({}, None, (48, 64))])
