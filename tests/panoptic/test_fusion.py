"""The rule of fusion by hand, and fused predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vertebra.annotations.run_lengths import Region, label_regions
from vertebra.errors import ConfigError
from vertebra.evaluation.panoptic import PanopticEvaluation
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.panoptic.ground_truth import true_segments
from vertebra.panoptic.labels import PanopticLabels
from vertebra.panoptic.panoptic_fpn import FusionRule, fuse
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.types import InstancePrediction, region_array
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.types import SegmentPrediction

SIZE = (10, 20)
THINGS = InstanceLabels(("cat", "dog"))
PIXELS = SegmentLabels(("background", "sky", "dog", "grass"))
ALL = FusionRule(min_stuff_share=0)


def region(left: int, right: int, rows: int = SIZE[0]) -> Region:
    mask = np.zeros(SIZE, dtype=bool)
    mask[:rows, left:right] = True
    return Region.of(mask)


def objects(*entries: tuple[int, int, float, int]) -> InstancePrediction:
    """Objects from (left, right, score, class)."""
    rles = region_array([region(left, right) for left, right, _, _ in entries])
    boxes = np.array([each.bounds() for each in rles], dtype=np.float32).reshape(-1, 4)
    scores = np.array([entry[2] for entry in entries], dtype=np.float32)
    return InstancePrediction(rles, boxes, scores, np.array([e[3] for e in entries], dtype=np.int64), SIZE, THINGS)


def pixels(*runs: tuple[int, int], probabilities: np.ndarray | None = None) -> SegmentPrediction:
    """Classes of columns, from (class, columns)."""
    columns = np.concatenate([np.full(count, number, dtype=np.uint8) for number, count in runs])
    return SegmentPrediction(np.repeat(columns[None], SIZE[0], axis=0), PIXELS, probabilities)


def test_better_objects_come_first_and_covered_ones_are_dropped() -> None:
    fused = fuse(objects((0, 8, 0.5, 0), (4, 12, 0.9, 1), (5, 12, 0.8, 0), (8, 16, 0.7, 1)), pixels((0, 20)))
    assert fused.class_names == ["dog", "dog", "cat"] and fused.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert fused.ids[0].tolist() == [3] * 4 + [1] * 8 + [2] * 4 + [0] * 4
    assert fused.areas.tolist() == [80, 40, 40], "half covered is not too much"
    assert len(fuse(objects((0, 8, 0.5, 0), (4, 12, 0.9, 1)), pixels((0, 20)), FusionRule(max_overlap=0.4))) == 1
    assert len(fuse(objects((0, 8, 0.5, 0), (0, 8, 0.9, 1)), pixels((0, 20)), FusionRule(max_overlap=1.0))) == 1


def test_stuff_fills_what_is_free() -> None:
    fused = fuse(objects((0, 4, 0.9, 0)), pixels((1, 6), (2, 6), (3, 1), (0, 7)), ALL)
    assert fused.spec.classes == ("cat", "dog", "sky", "grass") and fused.spec.things == ("cat", "dog")
    assert fused.ids[0].tolist() == [1] * 4 + [2] * 2 + [0] * 6 + [3] + [0] * 7, "things and background are no stuff"
    assert [segment[1:] for segment in fused.segments[1:]] == [
        ("sky", 2, pytest.approx(np.nan, nan_ok=True), 20, False)
    ] + [("grass", 3, pytest.approx(np.nan, nan_ok=True), 10, False)]
    assert fuse(
        objects((0, 4, 0.9, 0)), pixels((1, 6), (3, 1), (0, 13)), FusionRule(min_stuff_share=0.1)
    ).class_names == [
        "cat",
        "sky",
    ]


def test_stuff_has_a_score_where_probabilities_were_kept() -> None:
    probabilities = np.full((4, *SIZE), 0.1, dtype=np.float32)
    probabilities[1, :, 4:], probabilities[1, :, :4] = 0.7, 0.3
    fused = fuse(objects((0, 4, 0.9, 0)), pixels((1, 20), probabilities=probabilities))
    assert fused.scores.tolist() == pytest.approx([0.9, 0.7])


def test_a_fused_prediction_is_used_as_any_other() -> None:
    fused = fuse(objects((0, 4, 0.9, 0), (2, 8, 0.4, 1)), pixels((3, 20)), ALL)
    assert fused.boxes.tolist() == [[0, 0, 4, 10], [4, 0, 8, 10], [8, 0, 20, 10]] and fused.masks.sum() == 200
    assert fused.filter(min_score=0.5).class_names == ["cat", "grass"] and fused.filter(
        classes="dog"
    ).areas.tolist() == [40]
    assert repr(fused) == "3 segments: grass 60.0%, cat 20.0%, dog 20.0%"
    plain: Any = json.loads(json.dumps(fused.to_dict(), allow_nan=False))
    assert plain["objects"][2]["score"] is None and plain["objects"][0]["is_thing"] is True
    picture = np.asarray(fused.draw(np.zeros((*SIZE, 3), dtype=np.uint8)))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 6
    assert (np.asarray(fused[1:2].draw(np.zeros((*SIZE, 3), dtype=np.uint8)))[:, :4] == 0).all(), "the cat is left out"


def test_the_branches_are_chosen_by_their_tasks() -> None:
    result = Result({"animals": objects((0, 4, 0.9, 0)), "regions": pixels((1, 20))}, None, SIZE)
    assert result.panoptic.class_names == ["cat", "sky"] and result.panoptic is result.panoptic
    assert result.fuse_panoptic(min_stuff_share=0.9).class_names == ["cat"]
    with pytest.raises(ConfigError, match="there is none of 'instances'"):
        Result({"regions": pixels((1, 20))}, None, SIZE).panoptic  # noqa: B018
    two = Result({"a": objects(), "b": objects(), "regions": pixels((1, 20))}, None, SIZE)
    choice = r"task 'instances' \(a, b\); choose one: result.fuse_panoptic\(instances='a'\)"
    with pytest.raises(ConfigError, match=choice):
        two.panoptic  # noqa: B018
    assert two.fuse_panoptic(instances="b").class_names == ["sky"]
    with pytest.raises(ConfigError, match="'max_overlap' must be within 0 and 1"):
        result.fuse_panoptic(max_overlap=2)
    with pytest.raises(ConfigError, match="one class for each pixel"):
        PanopticLabels.of(THINGS, SegmentLabels(("sky",), multilabel=True))


def test_true_segments_need_panoptic_annotations() -> None:
    labels = SegmentLabels(("sky", "dog"))
    spec = PanopticLabels.of(THINGS, labels)
    mask = pixels((0, 8), (1, 4), (255, 8)).mask

    def annotated(*bounds: tuple[int, int]) -> InstanceAnnotation:
        count = len(bounds)
        rles = [region(*each) for each in bounds]
        return InstanceAnnotation.of(rles, np.ones(count, dtype=np.int64), np.zeros(count, dtype=bool), SIZE)

    actual = true_segments(annotated((8, 10), (10, 12)), SegmentAnnotation(mask), labels, spec)
    assert not isinstance(actual, str) and actual.class_ids.tolist() == [1, 1, 2]
    assert actual.numbers[0].tolist() == [3] * 8 + [1] * 2 + [2] * 2 + [0] * 8
    for bounds, reason in (
        (((8, 11), (10, 12)), "objects overlap"),
        (((8, 10),), "the pixels of objects have other classes"),
        (((6, 12),), "the pixels of objects have other classes"),
    ):
        assert true_segments(annotated(*bounds), SegmentAnnotation(mask), labels, spec) == reason
    assert "background" in str(
        true_segments(annotated(), SegmentAnnotation(mask), PIXELS, PanopticLabels.of(THINGS, PIXELS))
    )


def test_an_evaluation_pairs_the_branches_of_an_image_and_stops_at_other_data() -> None:
    branches = {"regions": ("segment", SegmentLabels(("sky", "dog"))), "animals": ("instances", THINGS)}
    info = ModelInfo(ResizeSpec(SIZE), 3, branches, thresholds={"animals": {"cat": 0.95, "dog": 0.5}})
    evaluation = PanopticEvaluation.of(info, 2)
    assert evaluation is not None and PanopticEvaluation.of(info._replace(branches={}), 2) is None
    annotation = InstanceAnnotation.of([region(8, 12)], np.array([1]), np.zeros(1, dtype=bool), SIZE)
    mask = SegmentAnnotation(pixels((0, 8), (1, 4), (255, 8)).mask)
    whole = SegmentPrediction(pixels((0, 20)).mask, SegmentLabels(("sky", "dog")))
    predicted = objects((8, 12, 0.9, 1), (0, 4, 0.9, 0))  # the cat is below the threshold of its class
    a, b, c, d, e = (Path(name) for name in "abcde")
    apart = PanopticEvaluation.of(info, 1)
    assert apart is not None and not apart.notes()
    for path in (a, b):
        apart.add("animals", predicted, annotation, path)
    assert apart.scores() == {} and apart.notes() == [
        "no panoptic quality, since no image has annotations of both branches, 'animals' and 'regions'"
    ]
    for name, path in (("regions", a), ("regions", b), ("animals", b), ("animals", a), ("animals", c), ("boxes", c)):
        evaluation.add(name, *((whole, mask) if name == "regions" else (predicted, annotation)), path)
    assert evaluation.images == 2
    assert evaluation.notes() == [
        "panoptic quality is of 2 images; 1 image has annotations of one of the branches 'animals' and 'regions' only"
    ]
    assert evaluation.scores()["panoptic/pq"] == 1.0 and "panoptic/pq/cat" not in evaluation.scores()
    for path in (d, e):  # of more images than a batch has, the first wait no longer
        evaluation.add("animals", predicted, annotation, path)
    evaluation.add("regions", whole, mask, c)
    assert evaluation.images == 2
    twice = InstanceAnnotation.of([region(8, 12)] * 2, np.array([1, 1]), np.zeros(2, dtype=bool), SIZE)
    evaluation.add("animals", predicted, twice, c)
    assert evaluation.scores() == {}
    assert evaluation.notes() == ["no panoptic quality, since the data are not panoptic: c: objects overlap"]


def test_regions_of_a_map() -> None:
    numbers = np.array([[1, 1, 3], [0, 3, 3], [1, 0, 1]])
    regions = label_regions(numbers, 3)
    for number, each in enumerate(regions, 1):
        np.testing.assert_array_equal(each.mask(), numbers == number)
    assert [each.area for each in regions] == [4, 0, 3]
