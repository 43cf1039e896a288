"""PQ, SQ and RQ: by hand, and as panopticapi."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.panoptic.drawn_segments import LABELS, drawn_pair
from tests.panoptic.panopticapi_numbers import SEEDS
from vertebra.panoptic.labels import PanopticLabels
from vertebra.panoptic.quality import FN, FP, IOU, TP, PanopticQuality, Segments, compare

NUMBERS = json.loads(Path(__file__).with_name("panopticapi_numbers.json").read_text())
CAT, SKY = 0, 1
TWO = PanopticLabels(("cat", "sky"), 1)


def row(*runs: tuple[int, int], classes: list[int], crowd: tuple[int, ...] = ()) -> Segments:
    """Segments of an image of one row, from (number, pixels)."""
    numbers = np.concatenate([np.full(length, number) for number, length in runs])[None]
    return Segments(numbers, np.array(classes, dtype=np.int64), np.isin(np.arange(1, len(classes) + 1), crowd))


@pytest.mark.parametrize("name", ["few", "some"])
def test_equal_to_panopticapi(name: str) -> None:
    count, seed = SEEDS[name]
    rng = np.random.default_rng(seed)
    quality = PanopticQuality(LABELS)
    for _ in range(count):
        quality.add(*drawn_pair(rng))
    scores = quality.compute()
    for key, value in NUMBERS[name].items():
        assert scores.get(key, 0.0) == pytest.approx(value, abs=1e-9), key
    assert set(scores) <= set(NUMBERS[name])


def test_a_match_needs_more_than_half() -> None:
    actual = row((1, 4), (2, 6), classes=[CAT, SKY])
    halved = compare(row((1, 8), (2, 2), classes=[CAT, SKY]), actual, 2)
    assert halved[CAT].tolist() == [0, 0, 1, 1], "4 of 8 is no match"
    assert halved[SKY].tolist() == [0, 0, 1, 1], "2 of 6 is none"
    better = compare(row((1, 5), (2, 5), classes=[CAT, SKY]), actual, 2)
    assert better[CAT, [TP, FP, FN]].tolist() == [1, 0, 0] and better[CAT, IOU] == pytest.approx(0.8)
    assert better[SKY, IOU] == pytest.approx(5 / 6)
    swapped = compare(row((1, 5), (2, 5), classes=[SKY, CAT]), actual, 2)
    assert swapped[:, TP].tolist() == [0, 0] and swapped[:, FP].tolist() == [1, 1]


def test_void_counts_in_no_union_and_excuses_false_segments() -> None:
    actual = row((1, 4), (0, 6), classes=[CAT])
    assert compare(row((1, 10), classes=[CAT]), actual, 1)[CAT].tolist() == [1, 1, 0, 0]
    assert compare(row((0, 3), (1, 3), (0, 4), classes=[CAT]), actual, 1)[CAT, [FP, FN]].tolist() == [0, 1]
    assert compare(row((0, 2), (1, 4), (0, 4), classes=[CAT]), actual, 1)[CAT, [FP, FN]].tolist() == [1, 1], "just half"


def test_crowds_are_neither_matched_nor_missed() -> None:
    actual = row((1, 4), (2, 6), classes=[CAT, SKY], crowd=(1,))
    counts = compare(row((1, 4), (2, 6), classes=[CAT, SKY]), actual, 2)
    assert counts[CAT].tolist() == [0, 0, 0, 0] and counts[SKY].tolist() == [1, 1, 0, 0]
    other = compare(row((1, 4), (0, 6), classes=[SKY]), actual, 2)
    assert other[SKY].tolist() == [0, 0, 1, 1], "a crowd excuses segments of its class only"


def test_numbers_of_groups_and_classes() -> None:
    quality = PanopticQuality(PanopticLabels(("cat", "dog", "sky"), 2))
    quality.add(row((1, 4), (2, 6), classes=[0, 2]), row((1, 4), (2, 5), (3, 1), classes=[0, 2, 0]))
    scores = quality.compute()
    assert scores["pq/cat"] == pytest.approx(1 / 1.5) and scores["sq/cat"] == 1 and "pq/dog" not in scores
    assert scores["pq/sky"] == pytest.approx(5 / 6) and scores["rq/sky"] == 1
    assert scores["pq"] == pytest.approx((1 / 1.5 + 5 / 6) / 2)
    assert scores["pq_things"] == pytest.approx(1 / 1.5) and scores["rq_stuff"] == 1
    assert PanopticQuality(TWO).compute() == {}
