"""Images with rare classes are drawn more often."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vertebra.annotations.paths import path_column
from vertebra.data.balance import MAX_FACTOR, draw_rows, repeat_factors
from vertebra.data.index import Index
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData
from vertebra.data.sources import Source
from vertebra.data.splits import fraction_rows
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment
from vertebra.tasks.classify.column import ClassColumn
from vertebra.tasks.classify.labels import ClassifyLabels


def test_the_factor_of_an_image_is_that_of_its_rarest_class() -> None:
    presence = np.zeros((100, 3), dtype=bool)
    presence[:, 0], presence[:4, 1] = True, True
    factors = repeat_factors(presence)
    np.testing.assert_allclose(factors[:4], np.sqrt((1.0 + 0.04) / 2 / 0.04))
    assert (factors[4:] == 1).all() and repeat_factors(np.zeros((3, 2), dtype=bool)).tolist() == [1, 1, 1]
    many = np.zeros((100_000, 2), dtype=bool)
    many[:, 0], many[0, 1] = True, True
    assert repeat_factors(many)[0] == MAX_FACTOR


def test_drawn_rows_follow_their_factors() -> None:
    rows, draw = np.array([7, 8, 9]), np.random.default_rng(0)
    counts = Counter(draw_rows(rows, np.array([1.0, 2.5, 1.0]), 9000, draw).tolist())
    assert counts[7] == pytest.approx(2000, rel=0.01) and counts[8] == pytest.approx(5000, rel=0.01)
    assert sorted(draw_rows(rows, None, 6, draw).tolist()) == [7, 7, 8, 8, 9, 9]
    assert len(draw_rows(rows, None, 0, draw)) == 0


@pytest.mark.parametrize(("balance", "times"), [(False, 1.0), (True, 10**0.5)])
def test_a_balanced_epoch_has_the_same_length(balance: bool, times: float) -> None:
    classes = np.array([0] * 95 + [1] * 5)
    labels = ClassifyLabels(("common", "rare"))
    column = ClassColumn(classes, np.ones(100, dtype=bool))
    index = Index(Path(), path_column([f"{row}.png" for row in range(100)]), {"classify": column}, {"classify": labels})
    source = Source(index, {"branch": "classify"}, balance=balance)
    data = MixedData([source], {"branch": labels}, ResizeSpec((32, 32)), Augment())
    sampler = MixSampler(data, 10)
    drawn = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn += [classes[key.row] for batch in sampler for key in batch]
    assert len(drawn) == 2000 and np.mean(drawn) == pytest.approx(0.05 * times / (0.95 + 0.05 * times), abs=0.01)


def test_a_fraction_keeps_every_stratum_and_repeats() -> None:
    strata = np.array([0] * 90 + [1] * 10 + [2])
    rows = fraction_rows(strata, 0.2, seed=3)
    assert Counter(strata[rows].tolist()) == {0: 18, 1: 2, 2: 1}
    assert rows.tolist() == fraction_rows(strata, 0.2, seed=3).tolist() != fraction_rows(strata, 0.2, seed=4).tolist()
