"""Stratified divisions: proportions, groups, what is missing, and that they repeat."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra.data.analysis.stratify import divide_folds, divide_stratified
from vertebra.errors import ConfigError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def fake_counts(count: int, classes: int, seed: int) -> np.ndarray:
    """Objects of each class in each image, of classes from frequent to rare."""
    rng = np.random.default_rng(seed)
    often = 0.5 / np.arange(1, classes + 1) ** 1.2
    return (rng.random((count, classes)) < often) * rng.integers(1, 6, (count, classes))


def test_single_labels_are_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    division = divide_stratified(1000, SHARES, 0, labels=labels)
    assert division.counts.tolist() == [[560, 160, 80], [70, 20, 10], [70, 20, 10]]
    assert division.sizes.tolist() == [800, 100, 100] and division.codes.dtype == np.int8
    assert division.notes == () and division.missing == ()
    assert np.array_equal(np.bincount(division.codes), division.sizes)


def test_rounding_does_not_add_up() -> None:
    division = divide_stratified(1300, SHARES, 0, labels=np.arange(1300) // 13)
    assert np.abs(division.sizes - [1040, 130, 130]).max() <= 1
    assert division.counts.min() == 1 and division.counts[1:].max() == 2


def test_several_labels_are_in_proportion() -> None:
    labels = fake_counts(3000, 20, 0)
    totals = labels.sum(axis=0)
    division = divide_stratified(3000, SHARES, 0, labels=labels)
    assert np.array_equal(division.counts.sum(axis=0), totals)
    expected = totals * np.array([[0.8], [0.1], [0.1]])
    assert (np.abs(division.counts - expected) <= 3 + 0.002 * totals).all(), "less than one image of up to five objects"
    assert np.abs(division.sizes - [2400, 300, 300]).max() <= 5
    drawn = np.random.default_rng(0).choice(3, 3000, p=[0.8, 0.1, 0.1])
    at_random = np.stack([labels[drawn == split].sum(axis=0) for split in range(3)])
    assert np.abs(division.counts - expected).mean() < 0.1 * np.abs(at_random - expected).mean()


def test_groups_stay_together_and_classes_in_proportion() -> None:
    labels = fake_counts(5000, 15, 1)
    groups = np.sort(np.random.default_rng(0).integers(0, 400, 5000))
    division = divide_stratified(5000, {"train": 0.75, "val": 0.25}, 3, labels=labels, groups=groups)
    splits_of_groups = np.zeros((400, 2), dtype=bool)
    splits_of_groups[groups, division.codes] = True
    assert (splits_of_groups.sum(axis=1) == 1).all()
    totals = labels.sum(axis=0)
    assert np.abs(division.counts[1] / totals - 0.25).max() < 0.03
    assert abs(division.sizes[1] / 5000 - 0.25) < 0.01 and division.notes == ()


def test_each_split_gets_each_class_where_it_can() -> None:
    division = divide_stratified(10, SHARES, 0, labels=np.repeat([0, 1], 5))
    assert division.counts.tolist() == [[3, 3], [1, 1], [1, 1]] and division.missing == ()
    assert division.notes == (
        "split 'train' has 60.0% of the images instead of 80.0%: each split has an image of each class where it can",
    )


def test_many_rare_classes_leave_the_shares_as_asked() -> None:
    """Each pair of images has three classes to itself, so that one image of each class would be half of all."""
    labels = np.repeat(np.repeat(np.eye(24, dtype=np.int64), 3, axis=1), 2, axis=0)
    labels = np.concatenate([labels, np.ones((48, 1), dtype=np.int64)], axis=1)
    division = divide_stratified(48, {"train": 0.8, "val": 0.2}, 0, labels=labels)
    assert division.sizes.tolist() == [38, 10] and division.counts[:, -1].tolist() == [38, 10]
    assert (division.counts[0] > 0).all(), "classes stay in the larger split"
    (note,) = division.notes
    assert note.endswith("and 37 more; its share of the images has no room for 42 of them")


@pytest.mark.parametrize("grouped", [False, True])
def test_what_is_missing_is_told(grouped: bool) -> None:
    labels = np.array([0] * 20 + [1] * 2 + [2])
    groups = np.arange(23) if grouped else None
    division = divide_stratified(23, SHARES, 0, labels=labels, groups=groups, classes=["cat", "dog", "emu"])
    assert division.counts[:, 1:].tolist() == [[1, 1], [1, 0], [0, 0]]
    assert division.missing == ((1, 2), (2, 1), (2, 2))
    noun = "image"  # also where each group is one
    assert division.notes[:2] == (
        f"split 'val' lacks class emu (there is 1 {noun})",
        f"split 'test' lacks classes dog (there are 2 {noun}s), emu (there is 1 {noun})",
    )


def test_one_group_cannot_be_divided() -> None:
    division = divide_stratified(20, SHARES, 0, groups=np.zeros(20))
    assert division.sizes.tolist() == [20, 0, 0]
    assert division.notes == (
        "split 'train' has 100.0% of the images instead of 80.0%: groups are kept together",
        "split 'val' has no image: there is 1 group for 3 splits",
        "split 'test' has no image: there is 1 group for 3 splits",
    )


def test_large_groups() -> None:
    groups = np.repeat(np.arange(6), [500, 20, 20, 20, 20, 20])
    division = divide_stratified(600, SHARES, 0, groups=groups)
    assert division.sizes.tolist() == [500, 60, 40] or division.sizes.tolist() == [500, 40, 60]


def test_images_without_labels_are_divided_too() -> None:
    labels = np.zeros((200, 3), dtype=np.int64)
    labels[:100, 0] = labels[50:100, 1] = 1
    division = divide_stratified(200, {"train": 0.5, "val": 0.5}, 0, labels=labels)
    assert division.sizes.tolist() == [100, 100]
    assert division.counts.tolist() == [[50, 25, 0], [50, 25, 0]] and division.missing == ()
    singles = divide_stratified(200, {"train": 0.5, "val": 0.5}, 0, labels=np.where(np.arange(200) < 100, 0, -1))
    assert singles.sizes.tolist() == [100, 100] and singles.counts.tolist() == [[50], [50]]


@pytest.mark.parametrize("grouped", [False, True])
def test_the_order_of_the_images_does_not_matter(grouped: bool) -> None:
    labels = fake_counts(500, 8, 2)
    keys = np.array([f"{number % 7}/{number}.jpg" for number in range(500)])
    groups = np.arange(500) // 3 if grouped else None
    order = np.random.default_rng(5).permutation(500)
    one = divide_stratified(500, SHARES, 9, labels=labels, keys=keys, groups=groups)
    other = divide_stratified(
        500, SHARES, 9, labels=labels[order], keys=keys[order], groups=groups[order] if groups is not None else None
    )
    assert np.array_equal(one.codes[order], other.codes)
    assert not np.array_equal(
        one.codes, divide_stratified(500, SHARES, 8, labels=labels, keys=keys, groups=groups).codes
    )


def test_folds() -> None:
    labels = fake_counts(600, 10, 3)
    division = divide_folds(600, 5, 0, labels=labels)
    assert division.names == ("fold_0", "fold_1", "fold_2", "fold_3", "fold_4")
    assert np.abs(division.sizes - 120).max() <= 2
    assert np.abs(division.counts - labels.sum(axis=0) / 5).max() <= 5
    assert divide_folds(7, 3, 0, labels=np.array([0, 0, 0, 1, 1, 1, 1])).counts.min() == 1


@settings(max_examples=150)
@given(st.integers(0, 60), st.integers(0, 5), st.integers(1, 6), st.booleans(), st.integers(0, 2**32))
def test_every_division_is_one(count: int, classes: int, splits: int, grouped: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = rng.random(splits) + 0.05
    shares = {f"s{number}": part for number, part in enumerate(parts / parts.sum())}
    kinds = [
        None,
        rng.integers(-1, classes, count),
        rng.integers(0, 3, (count, classes)) * (rng.random((count, classes)) < 0.3),
    ]
    labels = kinds[seed % 3]
    groups = rng.integers(0, 9, count) if grouped else None
    division = divide_stratified(count, shares, seed, labels=labels, groups=groups)
    assert len(division.codes) == count and division.sizes.sum() == count
    assert np.array_equal(np.bincount(division.codes, minlength=splits), division.sizes)
    if groups is not None:
        assert all(len(set(division.codes[groups == group])) <= 1 for group in range(9))
    present = np.zeros((count, 0)) if labels is None else labels
    if present.ndim == 1:
        present = present[:, None] == np.arange(division.counts.shape[1])
    counts = np.stack([present[division.codes == split].sum(axis=0) for split in range(splits)])
    assert np.array_equal(counts, division.counts)
    lacking = {(split, label) for split, label in np.argwhere((counts == 0) & (counts.sum(axis=0) > 0)).tolist()}
    assert lacking == set(division.missing)
    if labels is not None and labels.ndim == 1 and groups is None:
        assert all(counts[:, label].sum() < splits for _, label in lacking), "there were enough images"
    if labels is not None and labels.ndim == 2 and groups is None and (labels > 0).sum(axis=1).max(initial=0) > 1:
        assert (division.sizes <= count * np.array(list(shares.values())) + 1 + 1e-9).all()


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 0.8, "val": 0.1}, "train 0.8, val 0.1; their sum is 0.9, and must be 1"),
        ({"train": 1.0, "val": 0.0}, "train 1, val 0; give 1 to 127 of them, each above 0"),
        ({}, "shares of splits: none"),
    ],
)
def test_wrong_shares_are_named(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        divide_stratified(10, shares, 0)


def test_wrong_arrays_are_named() -> None:
    with pytest.raises(ValueError, match="labels must be one for each of 3 images, got 2"):
        divide_stratified(3, SHARES, 0, labels=np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="counts of 0 and more"):
        divide_stratified(2, SHARES, 0, labels=np.full((2, 2), -1))
    with pytest.raises(ConfigError, match="folds: 1 is not 2 to 127"):
        divide_folds(3, 1, 0)


def test_100000_images_of_80_classes_take_seconds() -> None:
    labels = fake_counts(100_000, 80, 0)
    start = time.process_time()
    division = divide_stratified(100_000, SHARES, 0, labels=labels)
    assert time.process_time() - start < 10
    often = labels.sum(axis=0) > 1000
    assert np.abs(division.counts[1:, often] / labels.sum(axis=0)[often] - 0.1).max() < 0.003
