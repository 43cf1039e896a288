"""Splits by name and by draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vertebra.data.splits import SHARES, NoSplit, check_split, divide, source_split, split_of
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
