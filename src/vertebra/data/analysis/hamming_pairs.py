"""All pairs of 64-bit hashes within a Hamming distance: exact, in bounded memory, also for videos that hardly change.

`near_components` unites what is near, `near_partners` finds for each hash one of another split, `near_pairs` lists pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vertebra.data.analysis.connected import join, numbered
from vertebra.data.analysis.hamming_search import Pairs, bit_count, check_hashes, search

MAX_PAIRS = 2_000_000


@dataclass(frozen=True, eq=False)
class NearPairs:
    """Pairs of hashes.

    Attributes:
        first, second: (p,) int64, rows; ``first < second``, sorted.
        distances: (p,) uint8, the number of bits that differ.
        complete: False where there are more pairs than the limit; those here are then any of them.
    """

    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray
    complete: bool


def near_pairs(
    hashes: np.ndarray, distance: int, *, between: np.ndarray | None = None, limit: int = MAX_PAIRS
) -> NearPairs:
    """All pairs of hashes that differ in at most ``distance`` bits.

    Args:
        hashes: (n,) uint64; leave out those of flat images.
        distance: 0 to 8.
        between: (n,) codes, such as those of splits; only pairs with different codes count. None for all pairs.
        limit: the search ends at this number of pairs, since a still video of n frames has n * (n - 1) / 2.

    Raises:
        ValueError: the hashes or the distance are out of range.
    """
    hashes = check_hashes(hashes, distance)
    codes = np.arange(len(hashes)) if between is None else numbered(between)
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    count = 0
    for one, other in search(hashes, distance, codes, once=True):
        blocks.append((np.minimum(one, other), np.maximum(one, other)))
        count += len(one)
        if count > limit:
            break
    empty = np.zeros(0, dtype=np.int64)
    first = np.concatenate([empty, *(block[0] for block in blocks)])
    second = np.concatenate([empty, *(block[1] for block in blocks)])
    order = np.lexsort((second, first))[:limit]
    first, second = first[order], second[order]
    return NearPairs(first, second, bit_count(hashes[first] ^ hashes[second]), count <= limit)


def near_components(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Groups hashes: two are in one group where a chain of pairs within ``distance`` bits leads from one to the other.

    Args:
        hashes: (n,) uint64; leave out those of flat images.
        distance: 0 to 8.

    Returns:
        (n,) int64, the group of each hash; groups are numbered in the order of their first hashes.

    Raises:
        ValueError: the hashes or the distance are out of range.
    """
    hashes, inverse = np.unique(check_hashes(hashes, distance), return_inverse=True)
    inverse = inverse.reshape(-1)
    parents = np.arange(len(hashes))
    for one, other in [(inverse[:-1], inverse[1:]), *_neighbors(hashes)]:
        near = bit_count(hashes[one] ^ hashes[other]) <= distance
        join(parents, one[near], other[near])
    for one, other in search(hashes, distance, parents):
        join(parents, one, other)
    return numbered(parents[inverse])


def near_partners(hashes: np.ndarray, distance: int, between: np.ndarray) -> np.ndarray:
    """For each hash one within ``distance`` bits that has another code: an image's near-duplicate in another split.

    Args:
        hashes: (n,) uint64; leave out those of flat images.
        distance: 0 to 8.
        between: (n,) codes, such as those of splits.

    Returns:
        (n,) int64, a row; -1 for a hash that has none.

    Raises:
        ValueError: the hashes or the distance are out of range.
    """
    hashes = check_hashes(hashes, distance)
    sides = numbered(between)
    partners = np.full(len(hashes), -1, dtype=np.int64)
    for one, other in _neighbors_across(hashes, sides):
        near = (partners[one] < 0) & (bit_count(hashes[one] ^ hashes[other]) <= distance)
        partners[one[near]] = other[near]
    codes = np.where(partners < 0, sides, -1)  # -1 with a partner: two such hashes are not compared
    for one, other in search(hashes, distance, codes):
        across = sides[one] != sides[other]
        one, other = one[across], other[across]
        for row, partner in ((one, other), (other, one)):
            new = partners[row] < 0
            partners[row[new]] = partner[new]
            codes[row] = -1
    return partners


def _orders(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Sorted orders of the hashes, rotated by some bits: near hashes are likely close to each other in one of them."""
    for shift in range(0, 64, 8):
        yield np.argsort((hashes << np.uint64(shift)) | (hashes >> np.uint64((64 - shift) % 64)), kind="stable")


def _neighbors(hashes: np.ndarray) -> Iterator[Pairs]:
    """Pairs that are likely near."""
    for order in _orders(hashes):
        yield order[:-1], order[1:]
        yield order[:-2], order[2:]


def _neighbors_across(hashes: np.ndarray, sides: np.ndarray) -> Iterator[Pairs]:
    """Each hash with the next and the previous one of another side, in sorted orders."""
    for order in _orders(hashes):
        ordered = sides[order]
        changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1  # where runs of one side begin, but the first
        if len(changes):
            runs = np.searchsorted(changes, np.arange(len(order)), side="right")
            first, last = int(changes[0]), int(changes[-1])
            yield order[:last], order[changes[runs[:last]]]
            yield order[first:], order[changes[runs[first:] - 1] - 1]
