"""Assignments equal SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra.tasks.assignment import max_gain_pairs

optimize = pytest.importorskip("scipy.optimize")


@settings(max_examples=40)
@given(st.integers(0, 12), st.integers(0, 12), st.sampled_from([0.0, 0.5, 0.8, 0.95]), st.integers(0, 10**6))
def test_pairs_have_the_largest_gain(rows: int, columns: int, empty: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gains = rng.uniform(0, 1, (rows, columns)).round(1 if seed % 2 else 6)  # with equal gains, too
    gains[rng.random(gains.shape) < empty] = rng.choice([0.0, -1.0])
    first, second = max_gain_pairs(gains)
    expected = optimize.linear_sum_assignment(-np.maximum(gains, 0))
    assert gains[first, second].sum() == pytest.approx(np.maximum(gains, 0)[expected].sum())
    assert (gains[first, second] > 0).all() and (np.diff(first) > 0).all()
    assert len(set(first.tolist())) == len(first) == len(set(second.tolist()))
