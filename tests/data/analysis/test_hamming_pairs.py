"""Near pairs of hashes, against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra.data.analysis import hamming_search
from vertebra.data.analysis.connected import join, numbered
from vertebra.data.analysis.hamming_pairs import near_components, near_pairs, near_partners
from vertebra.data.analysis.hamming_search import bit_count, search


def flipped(base: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Hashes with up to some bits of each changed."""
    masks = np.uint64(1) << rng.integers(0, 64, (len(base), bits), dtype=np.uint64)
    return base ^ np.bitwise_or.reduce(masks, axis=1) if bits else base


def fake_hashes(count: int, scenes: int, noise: int, seed: int) -> np.ndarray:
    """Hashes as of videos: each scene drifts and jitters. No scenes: independent images."""
    rng = np.random.default_rng(seed)
    if not scenes:
        return rng.integers(0, 2**64, count, dtype=np.uint64)
    scene = np.sort(rng.integers(0, scenes, count))
    drift = np.where(rng.random(count) < 0.2, np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64), np.uint64(0))
    return flipped(
        rng.integers(0, 2**64, scenes, dtype=np.uint64)[scene] ^ np.bitwise_xor.accumulate(drift), noise, rng
    )


def brute_force(hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    near = np.concatenate(
        [bit_count(part[:, None] ^ hashes) for part in np.array_split(hashes, 1 + len(hashes) // 500)]
    )
    return np.nonzero(np.triu(near <= distance, 1))


def components(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """By a plain union-find."""
    parents = list(range(count))

    def root(node: int) -> int:
        while parents[node] != node:
            node = parents[node]
        return node

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    return np.unique([root(node) for node in range(count)], return_inverse=True)[1]


@settings(max_examples=12)
@given(st.integers(0, 8), st.sampled_from([0, 1, 3, 40]), st.integers(0, 3), st.integers(0, 2**32))
def test_the_same_as_brute_force_on_3000(distance: int, scenes: int, noise: int, seed: int) -> None:
    hashes = np.random.default_rng(seed).permutation(fake_hashes(3000, scenes, noise, seed))
    first, second = brute_force(hashes, distance)
    pairs = near_pairs(hashes, distance, limit=10**7)
    assert pairs.complete and np.array_equal(pairs.first, first) and np.array_equal(pairs.second, second)
    assert np.array_equal(pairs.distances, bit_count(hashes[first] ^ hashes[second]))
    assert np.array_equal(near_components(hashes, distance), components(3000, first, second))


@settings(max_examples=60)
@given(st.integers(0, 8), st.integers(0, 3), st.integers(0, 80), st.integers(0, 30), st.integers(0, 2**32))
def test_every_number_of_equal_bands_finds_the_same(
    distance: int, equal: int, count: int, scenes: int, seed: int
) -> None:
    hashes = fake_hashes(count, scenes, 2, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming_search, "_choose_equal_bands", lambda *_: max(equal, 1 - min(distance, 1)))
        patch.setattr(hamming_search, "SMALL_BUCKET", 8 if seed % 2 else 0)
        patch.setattr(hamming_search, "TILE_ROWS", 4)
        patch.setattr(hamming_search, "TILE", 12)
        pairs = near_pairs(hashes, distance)
        labels = near_components(hashes, distance)
        sides = np.random.default_rng(seed).integers(0, 3, count)
        partners = near_partners(hashes, distance, sides)
        across = near_pairs(hashes, distance, between=sides)
    first, second = brute_force(hashes, distance)
    assert np.array_equal(pairs.first, first) and np.array_equal(pairs.second, second)
    assert np.array_equal(labels, components(count, first, second))
    differ = sides[first] != sides[second]
    assert np.array_equal(across.first, first[differ]) and np.array_equal(across.second, second[differ])
    has_one = np.zeros(count, dtype=bool)
    has_one[first[differ]] = has_one[second[differ]] = True
    assert np.array_equal(partners >= 0, has_one)
    rows = np.flatnonzero(has_one)
    assert (sides[rows] != sides[partners[rows]]).all()
    assert (bit_count(hashes[rows] ^ hashes[partners[rows]]) <= distance).all()


def test_a_still_video_comes_at_once() -> None:
    still = np.full(100_000, 77, dtype=np.uint64)
    assert near_components(still, 8).max() == 0
    sides = np.repeat([0, 1], 50_000)
    assert (sides[near_partners(still, 8, sides)] != sides).all()
    some = near_pairs(still, 8, limit=1000)
    assert not some.complete and len(some.first) == 1000 and (some.distances == 0).all()


def test_a_noisy_still_video_is_one_group() -> None:
    rng = np.random.default_rng(0)
    hashes = flipped(np.full(50_000, 12345, dtype=np.uint64), 3, rng)
    assert near_components(hashes, 8).max() == 0


def test_a_chain_is_one_group() -> None:
    chain = (np.uint64(1) << np.arange(64, dtype=np.uint64)) - np.uint64(1)
    assert near_components(chain, 0).tolist() == list(range(64))
    assert near_components(chain[::-1].copy(), 1).tolist() == [0] * 64


def test_the_search_gives_each_pair_once() -> None:
    hashes = fake_hashes(4000, 30, 2, seed=3)
    blocks = list(search(hashes, 6, np.arange(4000), once=True))
    first, second = (np.concatenate([block[side] for block in blocks]) for side in (0, 1))
    codes = np.minimum(first, second) * 4000 + np.maximum(first, second)
    assert len(codes) == len(np.unique(codes)) == len(brute_force(hashes, 6)[0])


def test_bits_are_counted_without_the_function_of_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([0, 1, 2**64 - 1, 2**63, 0x0123456789ABCDEF, *fake_hashes(50, 0, 0, 1)], dtype=np.uint64)
    expected = [value.bit_count() for value in values.tolist()]
    assert bit_count(values).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert bit_count(values).tolist() == expected


def test_few_hashes() -> None:
    for count in (0, 1):
        hashes = np.zeros(count, dtype=np.uint64)
        assert len(near_pairs(hashes, 4).first) == 0
        assert near_components(hashes, 4).tolist() == [0] * count
        assert near_partners(hashes, 4, hashes).tolist() == [-1] * count


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="uint64, got .*int64"):
        near_pairs(np.arange(3), 2)
    with pytest.raises(ValueError, match="distance must be 0 to 8, got 9"):
        near_components(np.zeros(2, dtype=np.uint64), 9)


def test_joining_and_numbering() -> None:
    parents = np.arange(6)
    join(parents, np.array([5, 1]), np.array([3, 5]))
    assert parents.tolist() == [0, 1, 2, 1, 4, 1]
    assert numbered(np.array(["b", "a", "b", "c"])).tolist() == [0, 1, 0, 2]
