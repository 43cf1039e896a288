"""The search behind `vertebra.data.analysis.hamming_pairs`: which pairs of hashes are compared.

64 bits are cut into d + k bands. Two hashes within d bits are equal in at least k bands, so that sorting by each choice of k
bands brings them into one bucket (multi-index hashing). Inside a bucket everything is compared, hashes with equal codes excepted.
k is chosen by counting what would be compared; k = 0 compares everything, and bounds the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

MAX_DISTANCE = 8
MAX_EQUAL_BANDS = 3
SAMPLED = 4  # choices of bands that are sorted to estimate the cost
SMALL_BUCKET = 96  # hashes; larger buckets are compared in tiles
MIN_MIXED = 2000  # hashes; fewer are compared as fast in any order of their bits
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are spread evenly
TILE_ROWS = 64
TILE = TILE_ROWS * 2048  # comparisons
SORT_COST = 40.0  # of one hash, as a multiple of the cost of a comparison in a tile
PAIR_COST = 5.0  # of a comparison in a small bucket

Pairs = tuple[np.ndarray, np.ndarray]


class _Buckets(NamedTuple):
    """Hashes that are compared with each other.

    Attributes:
        order: (n,) int64, rows sorted by key and then code.
        codes: (n,) int64, their codes when they were sorted.
        starts, ends: (b,) int64, for each run of equal keys with several codes, its positions in ``order``.
        pairs: (b,) float64, the number of pairs with different codes in each.
    """

    order: np.ndarray
    codes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    pairs: np.ndarray


def check_hashes(hashes: np.ndarray, distance: int) -> np.ndarray:
    """The hashes as a contiguous array.

    Raises:
        ValueError: they are not (n,) uint64, or the distance is not 0 to 8.
    """
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise ValueError(f"hashes must be (n,) uint64, got {hashes.shape} {hashes.dtype}")
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance must be 0 to {MAX_DISTANCE}, got {distance}")
    return np.ascontiguousarray(hashes)


def search(hashes: np.ndarray, distance: int, codes: np.ndarray, *, once: bool = False) -> Iterator[Pairs]:
    """Blocks of pairs within ``distance`` bits and with different codes.

    Args:
        hashes: (n,) uint64.
        distance: 0 to 8.
        codes: (n,) int64. The caller may change them between blocks: pairs whose codes have become equal are then left out.
        once: whether each pair comes only once; it takes longer.

    Yields:
        (p,) int64 and (p,) int64, the rows of each pair, in any order; a block is bounded by the number of hashes and the tile.
    """
    hashes = _mix_bits(hashes)
    equal = _choose_equal_bands(hashes, distance, codes)
    edges = _band_edges(distance + equal)
    for bands in combinations(range(distance + equal), equal):
        buckets = _buckets(_keys(hashes, bands, edges), codes)
        for one, other in _compare(hashes, distance, codes, buckets):
            if once and equal:
                first = _is_first(hashes[one] ^ hashes[other], bands, edges)
                one, other = one[first], other[first]
            if len(one):
                yield one, other


def bit_count(values: np.ndarray) -> np.ndarray:
    """The number of set bits of each value.

    Args:
        values: uint64 of any shape.

    Returns:
        uint8 of the same shape.
    """
    if hasattr(np, "bitwise_count"):
        counts: np.ndarray = np.bitwise_count(values)
        return counts
    values = values - ((values >> np.uint64(1)) & np.uint64(0x5555555555555555))  # numpy before 2.0
    pairs = np.uint64(0x3333333333333333)
    values = (values & pairs) + ((values >> np.uint64(2)) & pairs)
    values = (values + (values >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.asarray((values * np.uint64(0x0101010101010101)) >> np.uint64(56), dtype=np.uint8)


def _mix_bits(hashes: np.ndarray) -> np.ndarray:
    """The hashes with their bits in another order, so that bits that hardly vary are spread evenly over the bands."""
    if len(hashes) < MIN_MIXED:
        return hashes
    bits = np.arange(64, dtype=np.uint64)
    one = np.uint64(1)
    means = np.array([float(((hashes >> bit) & one).mean()) for bit in bits])
    by_variance = np.argsort(np.abs(means - 0.5), kind="stable")
    spread = by_variance[np.argsort(np.arange(64) * GOLDEN % 1)]
    mixed = np.zeros_like(hashes)
    for target, source in zip(bits, bits[spread], strict=True):
        mixed |= ((hashes >> source) & one) << target
    return mixed


def _choose_equal_bands(hashes: np.ndarray, distance: int, codes: np.ndarray) -> int:
    """How many bands must be equal: that with the least work."""
    costs = {0: 0.5 * float(len(hashes)) ** 2} if distance else {}
    for equal in range(1, MAX_EQUAL_BANDS + 1) if distance else (1,):
        choices = list(combinations(range(distance + equal), equal))
        edges = _band_edges(distance + equal)
        sampled = choices[:: -(-len(choices) // SAMPLED)]
        work = [_work(_buckets(_keys(hashes, bands, edges), codes)) for bands in sampled]
        costs[equal] = comb(distance + equal, equal) * (float(np.mean(work)) + SORT_COST * len(hashes))
        if costs[equal] > min(costs.values()) and len(costs) > 2:
            break
    return min(costs, key=costs.__getitem__)


def _work(buckets: _Buckets) -> float:
    """The cost of comparing inside buckets."""
    sizes = (buckets.ends - buckets.starts).astype(np.float64)
    return float(np.where(sizes <= SMALL_BUCKET, 0.5 * PAIR_COST * sizes**2, buckets.pairs).sum())


def _band_edges(bands: int) -> list[int]:
    """The first bit of each band, and 64."""
    return [round(64 * band / bands) for band in range(bands + 1)] if bands else [0, 64]


def _keys(hashes: np.ndarray, bands: tuple[int, ...], edges: list[int]) -> np.ndarray:
    """The bits of some bands, side by side, in the smallest type (numpy sorts 16 bits fastest)."""
    keys = np.zeros(len(hashes), dtype=np.uint64)
    bits = 0
    for band in bands:
        size = edges[band + 1] - edges[band]
        part = hashes >> np.uint64(edges[band])
        part = part & np.uint64((1 << size) - 1)
        keys = part if not bits else (keys << np.uint64(size)) | part
        bits += size
    return keys.astype(np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64)


def _buckets(keys: np.ndarray, codes: np.ndarray) -> _Buckets:
    """Sorts hashes by key and then code."""
    order = np.argsort(codes, kind="stable")
    order = order[np.argsort(keys[order], kind="stable")]
    ordered, sorted_codes = keys[order], codes[order]
    new_bucket = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(keys)]
    new_run = new_bucket.copy()
    new_run[1:] |= sorted_codes[1:] != sorted_codes[:-1]
    runs = np.flatnonzero(new_run)
    starts = np.flatnonzero(new_bucket)
    ends = np.concatenate([starts[1:], [len(keys)]])[: len(starts)]
    squares = np.diff(np.concatenate([runs, [len(keys)]])).astype(np.float64) ** 2
    same = np.add.reduceat(squares, np.searchsorted(runs, starts)) if len(runs) else squares[:0]
    pairs = 0.5 * ((ends - starts).astype(np.float64) ** 2 - same)
    mixed = pairs > 0
    return _Buckets(order, sorted_codes, starts[mixed], ends[mixed], pairs[mixed])


def _compare(hashes: np.ndarray, distance: int, codes: np.ndarray, buckets: _Buckets) -> Iterator[Pairs]:
    starts, ends = buckets.starts, buckets.ends
    small = ends - starts <= SMALL_BUCKET
    for one, other in _compare_small(hashes, distance, buckets.order, starts[small], ends[small]):
        differ = codes[one] != codes[other]
        yield one[differ], other[differ]
    for start, end in zip(starts[~small].tolist(), ends[~small].tolist(), strict=True):
        yield from _compare_large(hashes, distance, codes, buckets.order[start:end], buckets.codes[start:end])


def _compare_small(
    hashes: np.ndarray, distance: int, order: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> Iterator[Pairs]:
    """Compares inside many small buckets at once: each hash with the next one, the one after the next, and so on."""
    sizes = ends - starts
    if not len(sizes):
        return
    buckets = np.repeat(np.arange(len(sizes)), sizes)
    positions = np.arange(len(buckets)) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    rows = order[positions]
    values = hashes[rows]
    for offset in range(1, int(sizes.max())):
        if offset >= 4 and not offset & (offset - 1):  # at 4, 8, 16 …: leave out buckets that are done
            left = sizes[buckets] > offset
            rows, values, buckets = rows[left], values[left], buckets[left]
        near = bit_count(values[:-offset] ^ values[offset:]) <= distance
        near &= buckets[:-offset] == buckets[offset:]
        at = np.flatnonzero(near)
        if len(at):
            yield rows[at], rows[at + offset]


def _compare_large(
    hashes: np.ndarray, distance: int, codes: np.ndarray, rows: np.ndarray, sorted_codes: np.ndarray
) -> Iterator[Pairs]:
    """Compares inside one bucket in tiles, other than rows whose codes are equal."""
    values = hashes[rows]
    ends = np.searchsorted(sorted_codes, sorted_codes, side="right")
    size, top, changed = len(rows), 0, False
    while top < size:
        if changed and _one_code(codes, rows[top:], rows[top:]):
            return
        changed = False
        run = int(ends[top])  # rows of equal code from here on
        height = min(max(TILE_ROWS, TILE // max(size - run, 1)), max(TILE_ROWS, run - top), size - top)
        bottom = top + height
        first = run if run >= bottom else top
        step = max(1, TILE // height)
        for left in range(first, size, step):
            across = rows[left : left + step]
            if _one_code(codes, rows[top:bottom], across):
                continue
            near = bit_count(values[top:bottom, None] ^ values[None, left : left + step]) <= distance
            down, right = np.divmod(np.flatnonzero(near), len(across))
            one, other = rows[top + down], across[right]
            differ = (codes[one] != codes[other]) & (top + down < left + right)
            if differ.any():
                changed = True
                yield one[differ], other[differ]
        top = bottom


def _one_code(codes: np.ndarray, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether all rows of both have the same code by now."""
    code = codes[one[0]]
    return bool((codes[one] == code).all() and (codes[other] == code).all())


def _is_first(differences: np.ndarray, bands: tuple[int, ...], edges: list[int]) -> np.ndarray:
    """Whether these are the first bands in which the pairs are equal; a pair is met again for each other choice of its bands."""
    first = np.ones(len(differences), dtype=bool)
    for band in set(range(bands[-1])) - set(bands):
        mask = np.uint64(((1 << (edges[band + 1] - edges[band])) - 1) << edges[band])
        first &= (differences & mask) != 0
    return first
