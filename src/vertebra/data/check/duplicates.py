"""Images that occur twice, and images of one group in several splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vertebra.data.analysis.connected import numbered
from vertebra.data.analysis.groups import Grouping, group_by, guess_groups
from vertebra.data.analysis.hamming_pairs import near_components, near_pairs, near_partners
from vertebra.data.analysis.perceptual_hash import MIN_CORRELATION, NEAR_DISTANCE, correlations
from vertebra.data.check.report import Finding
from vertebra.data.check.scanning import Scan, content_hash

LEAK_CURE = "keep each of them in one split only; --fix takes them out of train"
NEAR_CURE = "draw new splits that keep them together: vertebra data split"
COPY_CURE = "each copy counts once more in training and in the metrics; remove the copies"
GROUP_CURE = "draw new splits that keep groups together: vertebra data split --group-by ..."


def exact_groups(scan: Scan) -> np.ndarray:
    """(N,) int64: images with the same number have identical bytes; -1 for those that no other is identical to."""
    _, inverse, sizes = np.unique(scan.bytes_in_file, return_inverse=True, return_counts=True)
    suspects = np.flatnonzero((sizes[inverse.reshape(-1)] > 1) & scan.readable)
    codes = np.full(len(scan.names), -1, dtype=np.int64)
    if len(suspects):
        hashes = np.array([content_hash(scan.paths[row]) for row in suspects.tolist()], dtype="S16")
        digests = numbered(hashes)
        codes[suspects] = np.where(np.bincount(digests)[digests] > 1, digests, -1)
    return codes


def exact(scan: Scan, codes: np.ndarray) -> Iterator[Finding]:
    """Images with identical bytes, in two splits or in one.

    Args:
        codes: of `exact_groups`.
    """
    across: list[str] = []
    within: list[str] = []
    leaked: list[str] = []
    for rows in _members(codes):
        first = rows[0]
        for row in rows[1:].tolist():
            pair = _pair(scan, int(first), row)
            if scan.splits[row] != scan.splits[first]:
                across.append(pair)
                leaked += [scan.names[first], scan.names[row]]
            elif scan.paths[row] != scan.paths[first]:
                within.append(pair)
    if across:
        files = tuple(dict.fromkeys(leaked))
        yield Finding.of("leak", "warning", "image", "in two splits", across, LEAK_CURE, files=files)
    if within:
        files = tuple(scan.names[row] for row in np.flatnonzero(codes >= 0).tolist())
        yield Finding.of("copies", "warning", "image", "identical to another", within, COPY_CURE, files=files)


def near(scan: Scan, codes: np.ndarray) -> Iterator[Finding]:
    """Images that are nearly the same as another one, in another split or in the same."""
    rows = np.flatnonzero(scan.comparable)
    rows = rows[_first_of_each(codes[rows], scan.splits[rows])]
    if len(rows) < 2:
        return
    hashes, sides = scan.hashes[rows], numbered(scan.splits[rows])
    partners = near_partners(hashes, NEAR_DISTANCE, sides)
    one = np.flatnonzero(partners >= 0)
    one, other = _confirmed(scan, rows, one, partners[one])
    fresh = (codes[rows[one]] < 0) | (codes[rows[one]] != codes[rows[other]])
    one, other = one[fresh], other[fresh]
    if len(one):
        pairs = np.unique(np.sort(np.stack([one, other], axis=1), axis=1), axis=0)
        texts = [_pair(scan, int(rows[a]), int(rows[b])) for a, b in pairs.tolist()]
        files = tuple(scan.names[rows[row]] for row in np.unique(np.concatenate([one, other])).tolist())
        which = "nearly the same as one of another split"
        yield Finding.of("near_leak", "warning", "image", which, texts, NEAR_CURE, files=files)
    within = _within(scan, rows, hashes, sides)
    if len(within):
        names = [scan.names[row] for row in within.tolist()]
        yield Finding.of("near_duplicates", "info", "image", "nearly the same as another of its split", names)


def groups(scan: Scan, rule: str | None, columns: Mapping[str, Sequence[object]] | None = None) -> Iterator[Finding]:
    """Groups of images that are in several splits, by the user's rule, or guessed from names and content.

    Args:
        rule: see `vertebra.data.analysis.groups.group_by`; None to guess.
        columns: with a value for each image.

    Raises:
        ConfigError, DataError: the rule is wrong, or matches no image.
    """
    grouping: Grouping = (
        guess_groups(scan.names, scan.hashes, scan.comparable) if rule is None else group_by(scan.names, rule, columns)
    )
    sides = numbered(scan.splits)
    codes = np.where(grouping.cut, len(sides) + np.arange(len(sides)), grouping.codes)  # a cut video is no group
    lowest = np.full(int(codes.max(initial=-1)) + 1, len(sides), dtype=np.int64)
    highest = np.full(len(lowest), -1, dtype=np.int64)
    np.minimum.at(lowest, codes, sides)
    np.maximum.at(highest, codes, sides)
    apart = lowest < highest
    if not apart.any():
        return
    texts, files = [], []
    for rows in _members(np.where(apart[codes], codes, -1)):
        files += [scan.names[row] for row in rows.tolist()]
        other = rows[scan.splits[rows] != scan.splits[rows[0]]][0]
        texts.append(_pair(scan, int(rows[0]), int(other), "~"))
    which = f"of images that belong together are in several splits ({'; '.join(grouping.rules)})"
    yield Finding.of("split_groups", "warning", "group", which, texts, GROUP_CURE, files=tuple(files))


def _members(codes: np.ndarray) -> list[np.ndarray]:
    """The rows of each code, (m,) int64 each; rows of code -1 are left out."""
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    return [rows for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(rows)]


def _pair(scan: Scan, one: int, other: int, sign: str = "=") -> str:
    """Two images in words: "train a.png = val b.png"."""
    names = [scan.names[row].rpartition("/")[2] for row in (one, other)]
    return f"{scan.splits[one]} {names[0]} {sign} {scan.splits[other]} {names[1]}"


def _first_of_each(codes: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """(m,) bool, False for all but the first of identical images of one split."""
    keep = np.ones(len(codes), dtype=bool)
    known: set[tuple[int, str]] = set()
    for row in np.flatnonzero(codes >= 0).tolist():
        key = (int(codes[row]), str(splits[row]))
        keep[row] = key not in known
        known.add(key)
    return keep


def _confirmed(scan: Scan, rows: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    alike = correlations(scan.thumbnails, rows[one], rows[other]) >= MIN_CORRELATION
    return one[alike], other[alike]


def _within(scan: Scan, rows: np.ndarray, hashes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Rows of images with a near one in their split; confirmed where there are not too many pairs, as in videos."""
    pairs = near_pairs(hashes, NEAR_DISTANCE)
    if not pairs.complete:
        components = near_components(hashes, NEAR_DISTANCE)
        cells = numbered(components * (int(sides.max()) + 1) + sides)
        alike: np.ndarray = rows[np.bincount(cells)[cells] > 1]
        return alike
    same = sides[pairs.first] == sides[pairs.second]
    one, other = _confirmed(scan, rows, pairs.first[same], pairs.second[same])
    confirmed: np.ndarray = rows[np.unique(np.concatenate([one, other]))]
    return confirmed
