"""Splits by name and by draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vertebra.data.splits import SHARES, NoSplit, check_split, divide, divide_runs, source_split, split_of
from vertebra.errors import DataError

HERE = Path("set")


def test_names_of_splits() -> None:
    named = {"train": "train", "instances_val2017": "val", "Validation": "val", "test-dev": None, "valid": "val"}
    named |= {"trainval": None, "testing": "test", "trainannot": None, "cats": None, "train_test": None}
    assert {name: split_of(name) for name in named} == named


def test_draw_takes_each_row_once_and_keeps_strata() -> None:
    strata = np.repeat([0, 1, 2], [100, 50, 10])
    parts = {split: divide(160, SHARES, split, 3, strata) for split in SHARES}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(160))
    assert {split: np.bincount(strata[rows]).tolist() for split, rows in parts.items()} == {
        "train": [80, 40, 8],
        "val": [10, 5, 1],
        "test": [10, 5, 1],
    }
    assert not np.array_equal(parts["val"], divide(160, SHARES, "val", 4, strata))
    np.testing.assert_array_equal(parts["val"], divide(160, SHARES, "val", 3, strata))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 11])
def test_small_sets_are_divided_too(count: int) -> None:
    parts = [divide(count, SHARES, split, 0) for split in SHARES]
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    assert count == 0 or len(parts[0])


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1, 0, 0]), (2, [2, 0, 0]), (3, [2, 1, 0]), (4, [2, 1, 1]), (5, [3, 1, 1]), (6, [4, 1, 1]), (10, [8, 1, 1])],
)
def test_small_sets_have_a_validation_image(count: int, sizes: list[int]) -> None:
    for strata in (None, np.zeros(count, dtype=np.int64), np.arange(count), np.eye(count, dtype=np.int64)):
        assert [len(divide(count, SHARES, split, 0, strata)) for split in SHARES] == sizes
    two_classes = [len(divide(count, SHARES, split, 0, np.arange(count) % 2)) for split in SHARES]
    assert sum(two_classes) == count and (two_classes[1] > 0) == (count > 2)
    assert [len(divide_runs(count, SHARES, split)) for split in SHARES] == sizes
    assert len(divide(count, {"train": 0.9, "val": 0.1}, "val", 0)) == int(count > 2)


def test_ten_images_of_two_classes_give_each_split_some_of_both() -> None:
    strata = np.repeat([0, 1], 5)
    for seed in range(5):
        parts = [np.bincount(strata[divide(10, SHARES, split, seed, strata)]).tolist() for split in SHARES]
        assert parts == [[3, 3], [1, 1], [1, 1]]


def test_each_split_has_an_image_of_each_of_many_small_classes() -> None:
    """Twenty classes of five images: a tenth of a class alone would be no image."""
    strata = np.repeat(np.arange(20), 5)
    parts = {split: divide(100, SHARES, split, 0, strata) for split in SHARES}
    assert {split: set(np.bincount(strata[rows]).tolist()) for split, rows in parts.items()} == {
        "train": {3},
        "val": {1},
        "test": {1},
    }


def test_objects_of_each_class_are_divided_in_proportion() -> None:
    """Class 2 is in a tenth of the images; a division that counts images with objects only would miss it half of the time."""
    counts = np.zeros((60, 3), dtype=np.int64)
    counts[:, 0] = 4
    counts[::2, 1] = 1
    counts[::10, 2] = 2
    for seed in range(5):
        sums = np.stack([counts[divide(60, SHARES, split, seed, counts)].sum(axis=0) for split in SHARES])
        assert (sums[:, 2] > 0).all() and (sums[1:] / counts.sum(axis=0) < 0.25).all()


def test_groups_stay_together_and_the_order_does_not_matter() -> None:
    groups = np.repeat(np.arange(20), 5)
    parts = [set(groups[divide(100, SHARES, split, 1, groups=groups)].tolist()) for split in SHARES]
    assert sum(map(len, parts)) == 20 and all(parts)
    keys = np.array([f"{number:03d}" for number in range(100)])
    order = np.random.default_rng(0).permutation(100)
    chosen = divide(100, SHARES, "val", 1, keys=keys)
    np.testing.assert_array_equal(np.sort(keys[order][divide(100, SHARES, "val", 1, keys=keys[order])]), keys[chosen])


@pytest.mark.parametrize(("rows", "objects"), [(100, 20), (30, 10), (10, 5), (10, 3)])
def test_every_split_has_its_part_of_the_images_with_objects(rows: int, objects: int) -> None:
    empty = (np.arange(rows) >= objects).astype(np.int64)
    for seed in range(5):
        val = divide(rows, SHARES, "val", seed, empty)
        assert (empty[val] == 0).any()


def test_which_split_is_read() -> None:
    assert source_split([], "test", HERE) == (None, SHARES)
    assert source_split(["train", "val"], "train", HERE) == ("train", None)
    source, shares = source_split(["train", "test"], "val", HERE)
    assert source == "train" and shares is not None and shares["val"] == pytest.approx(0.1)
    assert source_split(["train", "test"], "test", HERE) == ("test", None)
    with pytest.raises(NoSplit, match="set: there is no split 'test'; there is: train, val"):
        source_split(["val", "train"], "test", HERE)
    with pytest.raises(DataError, match="split 'trian' does not exist; choose train, val or test"):
        check_split("trian")
