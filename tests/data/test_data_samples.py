"""Samples of mixed data sets, bad images among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vertebra.annotations.paths import path_column
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.errors import DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import apply, read_image
from vertebra.recipe.augment import Augment
from vertebra.tasks.classify.column import ClassColumn
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.column import BoxColumn
from vertebra.tasks.detect.labels import DetectLabels

PLAN = ResizeSpec((24, 24))
LABELS = {"animal": ClassifyLabels(("dog", "cat")), "boxes": DetectLabels(("dog",))}


@pytest.fixture
def both(tmp_path: Path, draw_image: Callable[..., Path]) -> Source:
    """Six images: 0 to 3 with a class, 2 to 5 with a box, 6 with nothing."""
    names = [f"{number}.png" for number in range(7)]
    for name in names:
        draw_image(tmp_path / name)
    numbers = np.arange(7)
    boxes = BoxColumn.of(
        np.array([2, 3, 4]),
        np.tile([4.0, 4, 20, 20], (3, 1)),
        np.zeros(3, dtype=np.int64),
        np.zeros(3, dtype=bool),
        (numbers >= 2) & (numbers < 6),
    )
    columns = {"classify": ClassColumn(numbers % 2, numbers < 4), "detect": boxes}
    labels = {"classify": ClassifyLabels(("cat", "dog")), "detect": DetectLabels(("dog",))}
    index = Index(tmp_path, path_column(names), columns, labels)
    return Source(index, {"animal": "classify", "boxes": "detect"})


def test_images_are_labeled_for_some_branches(both: Source) -> None:
    data = MixedData([both], LABELS, PLAN, None)
    assert {group.branches: group.rows.tolist() for group in data.groups} == {
        ("animal",): [0, 1],
        ("animal", "boxes"): [2, 3],
        ("boxes",): [4, 5],
    }
    assert len(data) == 6 and data.notes() == ["1 image without a label was left out: 6.png"]
    only_class, two, nothing_there = (data[SampleKey(0, row)] for row in (1, 3, 5))
    assert list(only_class.targets) == ["animal"] and only_class.targets["animal"].label == 0
    assert list(two.targets) == ["animal", "boxes"]
    assert two.ground_truths["boxes"].boxes.tolist() == [[4, 4, 20, 20]]
    np.testing.assert_allclose(two.targets["boxes"].boxes, [[3, 3, 15, 15]])
    assert nothing_there.targets["boxes"].boxes.shape == (0, 4)
    assert two.size == (18, 24) and two.origin.path.name == "3.png"
    expected = apply(PLAN, read_image(two.origin.path))
    np.testing.assert_array_equal(two.image.permute(1, 2, 0).numpy(), expected)
    blank = data[SampleKey(0, 0, blank=True)]
    assert blank.image.shape == (3, 24, 24) and not blank.targets


def test_draws_are_a_function_of_seed_epoch_and_position(both: Source) -> None:
    data = MixedData([both], LABELS, PLAN, Augment.preset("strong"), seed=1)
    first = data[SampleKey(0, 3, 2, 5)]
    assert torch.equal(first.image, data[SampleKey(0, 3, 2, 5)].image) and not first.ground_truths
    others = [data[SampleKey(0, 3, 2, 6)], data[SampleKey(0, 3, 3, 5)]]
    others.append(MixedData([both], LABELS, PLAN, Augment.preset("strong"), seed=2)[SampleKey(0, 3, 2, 5)])
    assert not any(torch.equal(first.image, other.image) for other in others)


def test_an_unreadable_image_is_replaced_by_one_of_its_kind(both: Source) -> None:
    path = both.index.path(2)
    path.write_bytes(path.read_bytes()[:50])
    data = MixedData([both], LABELS, PLAN, Augment.preset("none"))
    sample = data[SampleKey(0, 2)]
    assert sample.origin.path.name == "3.png" and list(sample.targets) == ["animal", "boxes"]
    assert [skip.path for skip in sample.skipped] == [str(path)]
    data.record(sample.skipped)
    data.record(sample.skipped)
    assert data.notes()[-1].startswith("1 image that could not be used was replaced by others: 2.png (first: ")
    assert "damaged or cut off" in data.notes()[-1]


def test_evaluation_leaves_an_unreadable_image_out(both: Source) -> None:
    both.index.path(2).write_bytes(b"no")
    data = MixedData([both], LABELS, PLAN, None)
    sample = data[SampleKey(0, 2)]
    assert not sample.targets and not sample.ground_truths and len(sample.skipped) == 1
    assert sample.image.shape == (3, 24, 24)
    data.record(sample.skipped)
    assert "was left out: 2.png" in data.notes()[-1]


def test_too_many_bad_images_end_the_run(both: Source) -> None:
    data = MixedData([both], LABELS, PLAN, Augment.preset("none"))
    for row in (0, 1):
        both.index.path(row).write_bytes(b"no")
    with pytest.raises(DataError, match=r"0\.png: not an image .* nor could any of 1 other images be used") as caught:
        data[SampleKey(0, 0)]
    assert "\n" not in str(caught.value)
    for row in (2, 3):
        both.index.path(row).write_bytes(b"no")
    skips = [skip for row in range(4) for skip in MixedData([both], LABELS, PLAN, None)[SampleKey(0, row)].skipped]
    data.record(skips[:2])
    with pytest.raises(DataError, match=r"3 of 6 images cannot be used, too many to continue; the first: .*0\.png"):
        data.record(skips[2:3])


def test_a_mask_that_does_not_fit_counts_as_bad(masks: Callable[..., Path], draw_image: Callable[..., Path]) -> None:
    names = [*(f"train/{number}" for number in range(4)), "val/9"]
    root = masks({name: np.full((24, 32), int(name[-1]) % 2, dtype=np.uint8) for name in names})
    draw_image(root / "images" / "train" / "1.jpg", 30, 30)
    index = open_data(root, "segment", "train")
    data = MixedData([Source(index, {"regions": "segment"})], {"regions": index.labels["segment"]}, PLAN, None)
    reasons = [skip.reason for row in range(len(index)) for skip in data[SampleKey(0, row)].skipped]
    assert len(reasons) == 1
    assert "1.jpg: " in reasons[0] and "1.png: this mask is 24x32, but its image is 30x30" in reasons[0]


def test_wrong_sources_are_refused(both: Source) -> None:
    with pytest.raises(DataError, match="for branch 'zoo', but the branches are animal, boxes"):
        MixedData([Source(both.index, {"zoo": "classify"})], LABELS, PLAN, None)
    with pytest.raises(
        DataError, match="branch 'boxes' needs labels for segment, but it was opened for classify, detect"
    ):
        MixedData([Source(both.index, {"boxes": "segment"})], LABELS, PLAN, None)


def test_images_of_unknown_classes_are_not_labeled(both: Source) -> None:
    labels: dict[str, Any] = {"animal": ClassifyLabels(("dog", "bird"))}
    data = MixedData([Source(both.index, {"animal": "classify"})], labels, PLAN, None)
    assert [group.rows.tolist() for group in data.groups] == [[1, 3]]
    assert "which" not in data.notes()[0] and "branch 'animal' has not was left out: cat" in data.notes()[0]


def test_one_and_many_channels(both: Source) -> None:
    data = MixedData([both], LABELS, PLAN, Augment(), channels=1)
    assert data[SampleKey(0, 0)].image.shape == (1, 24, 24)
    assert MixedData([both], LABELS, PLAN, None, channels=4)[SampleKey(0, 0)].image.shape == (4, 24, 24)


@pytest.mark.parametrize("option", ["mixup", "cutmix", "mosaic"])
def test_mixed_images_are_of_one_kind_and_repeat(both: Source, option: str) -> None:
    augment = replace(Augment.preset("none"), **{option: 1.0})
    data = MixedData([both], LABELS, PLAN, augment, seed=1)
    plain = MixedData([both], LABELS, PLAN, Augment.preset("none"), seed=1)
    sample = data[SampleKey(0, 4, 2, 5)]
    assert list(sample.targets) == ["boxes"] and sample.origin.path.name == "4.png"
    again, other = data[SampleKey(0, 4, 2, 5)], data[SampleKey(0, 4, 2, 6)]
    assert torch.equal(sample.image, again.image) and not torch.equal(sample.image, other.image)
    np.testing.assert_array_equal(sample.targets["boxes"].boxes, again.targets["boxes"].boxes)
    only_class = data[SampleKey(0, 0)]
    if option == "mosaic":
        assert torch.equal(only_class.image, plain[SampleKey(0, 0)].image) and only_class.targets["animal"].label == 1
    else:
        assert only_class.targets["animal"].label.sum() == pytest.approx(1)


def test_an_unreadable_partner_is_replaced_and_counted(both: Source) -> None:
    both.index.path(5).write_bytes(b"no")
    data = MixedData([both], LABELS, PLAN, replace(Augment.preset("none"), mosaic=1.0))
    samples = [data[SampleKey(0, 4, 0, position)] for position in range(6)]
    assert all(len(sample.targets["boxes"].boxes) == 4 for sample in samples), "each of the four images has one box"
    skipped = {skip.path for sample in samples for skip in sample.skipped}
    assert skipped == {str(both.index.path(5))}
