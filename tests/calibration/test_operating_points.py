"""Promised thresholds: exact counts, bets, and the promise itself on drawn data whose true shares are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vertebra.calibration.bounds import allowed_misses, betting_p_values, images_needed
from vertebra.calibration.operating_points import (
    binary_threshold,
    mean_share,
    operating_point,
    rounded_down,
    scores_by_class,
    share_threshold,
)
from vertebra.tasks.object_scores import MISSED, ObjectScores


def test_as_many_may_be_missed_as_the_binomial_distribution_allows() -> None:
    for images in (28, 29, 45, 46, 100):
        allowed = allowed_misses(images, 0.1, 0.05)
        chances = [math.comb(images, k) * 0.1**k * 0.9 ** (images - k) for k in range(images + 1)]
        assert sum(chances[: allowed + 1]) <= 0.05 < sum(chances[: allowed + 2])
    assert [allowed_misses(count, 0.1, 0.05) for count in (0, 28, 29, 45, 46)] == [-1, -1, 0, 0, 1]
    assert allowed_misses(100_000, 0.1, 0.05) == 9843, "no overflow"


def test_the_number_of_images_that_is_needed_is_the_smallest() -> None:
    assert images_needed(0.1, 0.05, binary=True) == 29
    count = images_needed(0.1, 0.05, binary=False)
    assert count == 32
    for images, enough in ((count - 1, False), (count, True)):
        assert bool(betting_p_values(np.zeros((1, images)), 0.1, 0.05)[0] <= 0.05) is enough


def test_a_bet_against_a_true_hypothesis_is_rarely_won() -> None:
    draw = np.random.default_rng(0)
    level = draw.choice([0.0, 0.25, 1.0], p=[0.8, 0.1333333333, 0.0666666667], size=(4000, 60))  # of mean 0.1
    assert (betting_p_values(level, 0.1, 0.05) <= 0.05).mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 4000)
    low = draw.choice([0.0, 0.25], p=[0.95, 0.05], size=(200, 60))
    assert (betting_p_values(low, 0.1, 0.05) <= 0.05).mean() > 0.9, "of mean 0.0125"
    assert betting_p_values(np.zeros((2, 0)), 0.1, 0.05).tolist() == [1, 1]


def test_thresholds_of_images_keep_the_promise_with_its_probability() -> None:
    """The score of an image is uniform, so a threshold t misses exactly the share t."""
    draw = np.random.default_rng(1)
    thresholds = [binary_threshold(draw.uniform(size=80), np.arange(80), 0.1, 0.1) for _ in range(3000)]
    kept = np.mean([threshold is not None and threshold <= 0.1 for threshold in thresholds])
    assert 0.9 <= kept <= 0.97, "and is not needlessly careful"


def test_thresholds_of_objects_keep_the_promise_with_its_probability() -> None:
    """All objects of an image have one score, the hardest dependence, and images have one to four objects."""
    draw = np.random.default_rng(2)
    rows = np.repeat(np.arange(80), draw.integers(1, 5, size=80))
    kept, stored = 0, []
    for _ in range(300):
        threshold = share_threshold(draw.uniform(size=80)[rows], rows, 0.1, 0.1)
        kept += threshold is None or threshold <= 0.1
        stored += [] if threshold is None else [threshold]
    assert kept / 300 >= 0.9 - 2 * math.sqrt(0.09 / 300) and np.mean(stored) > 0.04


def test_the_threshold_of_objects_is_the_last_before_the_first_failure() -> None:
    """Blocks of thresholds give what a test of each by itself gives."""
    draw = np.random.default_rng(3)
    rows = np.repeat(np.arange(150), draw.integers(1, 6, size=150))
    scores = draw.uniform(size=len(rows))
    scores[draw.uniform(size=len(rows)) < 0.02] = MISSED
    last = None
    order = np.random.default_rng(0).permutation(150)
    counts = np.bincount(rows)
    for candidate in np.unique(scores):
        losses = np.bincount(rows, scores < candidate) / counts
        if betting_p_values(losses[None, order], 0.4, 0.05)[0] > 0.05:
            break
        last = candidate
    assert share_threshold(scores, rows, 0.4, 0.05) == last and last is not None
    assert np.searchsorted(np.unique(scores), last) > 128, "more than half a block"


def image(true: list[tuple[int, float]], false: list[tuple[int, float]]) -> ObjectScores:
    columns = [np.array([pair[part] for pair in pairs]) for pairs in (true, false) for part in (0, 1)]
    return ObjectScores(
        columns[0].astype(np.int64), columns[1].astype(float), columns[2].astype(np.int64), columns[3].astype(float)
    )


def test_costs_are_those_at_the_threshold() -> None:
    images = [image([(0, 0.9), (0, 0.8)], [(0, 0.3), (1, 0.7)]) for _ in range(39)] + [
        image([(0, 0.9), (0, 0.1)], [(0, 0.9)])
    ]
    first, second = scores_by_class(images, 2)
    assert len(first.scores) == 80 and len(second.scores) == 0 and len(second.false_scores) == 39
    point = operating_point("a", first, 0.1, 0.95, binary=False)
    assert point.threshold == pytest.approx(0.8, abs=1e-3) and point.threshold < 0.8, "so that equal scores are kept"
    assert point.miss == pytest.approx(0.5 / 40) and point.object_miss == pytest.approx(1 / 80)
    assert point.false_per_image == pytest.approx(1 / 40) and point.precision == pytest.approx(79 / 80)
    assert point.images == 40 and point.objects == 80 and not point.reason
    assert mean_share(np.array([True, False, True]), np.array([3, 3, 8])) == 0.75


def test_what_keeps_no_promise_says_why() -> None:
    few = scores_by_class([image([(0, 0.9)], [])] * 5, 1)[0]
    for binary, needed in ((True, 29), (False, 32)):
        point = operating_point("a", few, 0.1, 0.95, binary=binary)
        assert point.threshold is None and f"5 images with this class, and at least {needed} are needed" in point.reason
    never = scores_by_class([image([(0, MISSED if number % 2 else 0.5)], []) for number in range(60)], 1)[0]
    point = operating_point("a", never, 0.1, 0.95, binary=False)
    assert point.threshold is None and "50.0% of its objects have no prediction" in point.reason
    nothing = scores_by_class([image([], [])] * 3, 1)[0]
    assert "0 images with this class" in operating_point("a", nothing, 0.1, 0.95, binary=False).reason


@pytest.mark.parametrize("threshold", [0.43219, 0.5, 1.0, 3.123456e-5, 0.99999, 1e-9])
def test_stored_thresholds_are_a_little_lower(threshold: float) -> None:
    assert threshold * (1 - 2e-3) <= rounded_down(threshold) < threshold and rounded_down(0.0) == 0
