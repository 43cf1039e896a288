"""The task of a data set where none is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vertebra.data.find_task import find_task
from vertebra.errors import DataError

Make = Callable[..., Path]
OUTLINE = [[2, 2, 9, 2, 9, 9, 2, 9]]


def test_class_folders_are_classified(class_folders: Make) -> None:
    found = find_task(class_folders({"cat": 2, "dog": 2}))
    assert found.name == "classify" and str(found) == "task classify (from its labels, format image_folder)"


def test_masks_are_segmented(masks: Make) -> None:
    assert find_task(masks({name: np.eye(8, dtype=np.uint8) for name in "abc"})).name == "segment"


@pytest.mark.parametrize(
    ("annotation", "category", "task", "alternatives"),
    [
        ({"bbox": [2, 2, 7, 7]}, {}, "detect", {"classify"}),
        (
            {"bbox": [2, 2, 7, 7], "segmentation": OUTLINE},
            {},
            "detect",
            {"classify", "instances", "rotated_boxes", "segment"},
        ),
        ({"segmentation": OUTLINE}, {}, "segment", {"classify", "detect", "instances", "rotated_boxes"}),
        ({"bbox": [2, 2, 7, 7], "keypoints": [3, 3, 2]}, {"keypoints": ["nose"]}, "keypoints", {"classify", "detect"}),
    ],
)
def test_the_most_detailed_annotations_decide(
    coco: Make, annotation: dict, category: dict, task: str, alternatives: set[str]
) -> None:
    categories = [{"id": 7, "name": "dog", **category}]
    found = find_task(coco([{"image_id": 10, "category_id": 7, **annotation}], categories_=categories))
    assert found.name == task and set(found.alternatives) == alternatives and "--task chooses another" in str(found)


def test_a_data_set_without_annotations_names_the_option(coco: Make) -> None:
    with pytest.raises(DataError, match="it has no annotations that show a task; name it: --task"):
        find_task(coco([]))


def test_a_task_that_cannot_be_read_is_not_offered(coco: Make) -> None:
    nose = [{"id": 7, "name": "dog", "keypoints": ["nose"]}]
    found = find_task(coco([{"image_id": 10, "category_id": 7, "keypoints": [0, 0, 0]}], categories_=nose))
    assert found.name == "keypoints" and found.alternatives == (), "there is no box around points without a position"
