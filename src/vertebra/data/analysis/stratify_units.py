"""The steps of `vertebra.data.analysis.stratify`, on units in a shuffled order."""

from __future__ import annotations

import numpy as np

from vertebra.data.analysis.label_units import LabelUnits

MAX_CARRY = 1.0  # images of a class by which rounding in other classes is made up for
MAX_MOVES = 200  # units that are tried for one missing class


def stratify_singles(units: LabelUnits, parts: np.ndarray) -> np.ndarray:
    """Divides units of one image with at most one label, class by class.

    Args:
        units: in the order in which they are dealt out.
        parts: (S,) shares, which sum to 1.

    Returns:
        (u,) int64, the split of each unit.
    """
    labels = np.full(len(units.sizes), units.classes, dtype=np.int64)  # the last is for none
    labels[units.entry_units()] = units.labels
    totals = np.bincount(labels, minlength=units.classes + 1)
    quotas = _apportion(totals, parts)
    order = np.argsort(labels, kind="stable")
    codes = np.empty(len(labels), dtype=np.int64)
    splits = np.tile(np.arange(len(parts)), len(totals))
    codes[order] = np.repeat(splits, quotas.ravel())
    return codes


def _apportion(totals: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """How many units of each class come into each split.

    At least one where there are enough, the largest split first where there are not; for the last class, that of units without a
    label, in proportion only. What rounding takes from a split in one class, it gets back in the next.

    Returns:
        (K, S) int64, each row with the sum of its total.
    """
    quotas = np.zeros((len(totals), len(parts)), dtype=np.int64)
    carry = np.zeros(len(parts))
    largest = np.argsort(-parts, kind="stable")
    for label in np.argsort(totals, kind="stable").tolist():
        total = int(totals[label])
        if not total:
            continue
        if label < len(totals) - 1:
            quotas[label, largest[:total]] = 1
        left = total - int(quotas[label].sum())
        wanted = np.clip(total * parts + carry - quotas[label], 0, None)
        wanted = left * (wanted / wanted.sum() if wanted.sum() > 0 else parts)
        quotas[label] += np.floor(wanted + 1e-9).astype(np.int64)
        rest = total - int(quotas[label].sum())
        quotas[label, np.argsort(np.floor(wanted + 1e-9) - wanted, kind="stable")[:rest]] += 1
        carry = np.clip(carry + total * parts - quotas[label], -MAX_CARRY, MAX_CARRY)
    return quotas


def stratify_units(units: LabelUnits, parts: np.ndarray) -> np.ndarray:
    """Divides units with any labels: iterative stratification, the label first that the fewest remaining units have.

    At each moment each split is to have its share of what is assigned of each label. A unit comes into the split where
    the sum of the squared deviations from this becomes least. They are counted in shares of a label's total, so that rare labels
    weigh more; the number of images counts as one more label, that all have.

    Args:
        units: in the order in which units of equal counts are dealt out.
        parts: (S,) shares, which sum to 1.

    Returns:
        (u,) int64, the split of each unit.
    """
    with_label = units.units_with()
    totals = np.bincount(units.labels, units.counts, minlength=units.classes)
    entries = list(zip(units.labels.tolist(), (units.counts / totals[units.labels]).tolist(), strict=True))
    starts = units.starts.tolist()
    size_parts = (units.sizes / max(int(units.sizes.sum()), 1)).tolist()
    tally = _Tally(label_shares(parts, with_label))
    by_label = np.lexsort((units.entry_units(), -units.counts, units.labels))
    members = np.split(units.entry_units()[by_label], np.cumsum(with_label)[:-1]) if units.classes else []
    remaining = with_label.tolist()
    codes = [-1] * len(size_parts)
    queue = set(np.flatnonzero(with_label).tolist())
    while queue:
        label = min(queue, key=lambda one: (remaining[one], one))
        queue.remove(label)
        for unit in members[label].tolist():
            if codes[unit] < 0:
                unit_entries = entries[starts[unit] : starts[unit + 1]]
                codes[unit] = tally.assign([*unit_entries, (units.classes, size_parts[unit])])
                for other, _ in unit_entries:
                    remaining[other] -= 1
    for unit in np.argsort(-units.sizes, kind="stable").tolist():
        if codes[unit] < 0:
            codes[unit] = tally.assign([(units.classes, size_parts[unit])])
    return np.array(codes, dtype=np.int64)


def label_shares(parts: np.ndarray, with_label: np.ndarray) -> np.ndarray:
    """(S, K + 1), the share of each label and of all images that each split is to have: at least one unit of each label."""
    shares = np.repeat(parts[:, None], len(with_label) + 1, axis=1)
    enough = np.flatnonzero(with_label >= len(parts))
    shares[:, enough] = np.maximum(shares[:, enough], 1 / with_label[enough])
    return np.asarray(shares / shares.sum(axis=0))


class _Tally:
    """What each split has.

    Args:
        shares: (S, K + 1), the share of each label that each split is to have.
    """

    def __init__(self, shares: np.ndarray) -> None:
        self.shares: list[list[float]] = shares.tolist()
        self.assigned = [[0.0] * shares.shape[1] for _ in shares]
        self.total = [0.0] * shares.shape[1]

    def assign(self, entries: list[tuple[int, float]]) -> int:
        """Gives a unit to a split.

        Args:
            entries: the labels of the unit, each with its part of the label's total.

        Returns:
            The split.
        """
        total = self.total
        best, most = 0, -float("inf")
        for split, (share, assigned) in enumerate(zip(self.shares, self.assigned, strict=True)):
            lack = 0.0  # half of what the sum of squares becomes less, up to what is the same for all splits
            for label, part in entries:
                lack += part * (share[label] * (total[label] + part) - assigned[label])
            if lack > most:
                best, most = split, lack
        assigned = self.assigned[best]
        for label, part in entries:
            assigned[label] += part
            total[label] += part
        return best


def fill_missing(units: LabelUnits, codes: np.ndarray, parts: np.ndarray) -> None:
    """Moves units, in place, so that each split has one of each label where there are enough, and an image.

    A unit is moved only if its split keeps another one with each of its labels.

    Args:
        units: those divided.
        codes: (u,) int64, their splits.
        parts: (S,) shares.
    """
    if not len(codes):
        return
    entry_units = units.entry_units()
    present = np.zeros((len(parts), units.classes + 1), dtype=np.int64)  # units with each label, and all units
    np.add.at(present, (codes[entry_units], units.labels), 1)
    present[:, -1] = np.bincount(codes, minlength=len(parts))
    by_label = np.argsort(units.labels, kind="stable")
    members = np.split(entry_units[by_label], np.cumsum(units.units_with()))
    members[-1] = np.arange(len(codes))
    largest = np.argsort(-parts, kind="stable")
    totals = present.sum(axis=0)
    for label in np.argsort(totals, kind="stable").tolist():
        for split in largest[: totals[label]].tolist():
            if not present[split, label]:
                _move_one(units, codes, present, members[label], label, split)


def _move_one(
    units: LabelUnits, codes: np.ndarray, present: np.ndarray, members: np.ndarray, label: int, split: int
) -> None:
    """Moves one of the units with a label into a split, the smallest from the split with most of them."""
    for donor in np.argsort(-present[:, label], kind="stable").tolist():
        if present[donor, label] < 2:
            return
        rows = members[codes[members] == donor]
        rows = rows[np.argsort(units.sizes[rows], kind="stable")][:MAX_MOVES]
        for row in rows.tolist():
            labels = np.append(units.labels[units.starts[row] : units.starts[row + 1]], units.classes)
            if (present[donor, labels] >= 2).all():
                present[donor, labels] -= 1
                present[split, labels] += 1
                codes[row] = split
                return
