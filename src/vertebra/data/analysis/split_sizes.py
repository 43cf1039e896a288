"""The sizes of splits, brought to their shares after labels were divided."""

from __future__ import annotations

import numpy as np

from vertebra.data.analysis.label_units import LabelUnits
from vertebra.data.analysis.stratify_units import label_shares

MAX_EXCESS = 1.0  # images that a split may have above its share, for the sake of its labels
LOST_LABEL = 1e3  # cost of the last unit of a label; the other costs of a unit are below 4 for each of its labels
BATCH = 8  # a part of the excess that is moved at once, since moves of large sets would take long one by one


def meet_shares(units: LabelUnits, codes: np.ndarray, parts: np.ndarray) -> None:
    """Moves units, in place, until no split has more than `MAX_EXCESS` images above its share, as far as groups allow it.

    Many rare labels ask for more units than a small split has. Then the share counts, and the split lacks some of the labels.
    Units are moved from the fullest split to the emptiest, first those that leave the labels nearest to their shares.

    Args:
        units: those divided.
        codes: (u,) int64, their splits.
        parts: (S,) shares.
    """
    targets = parts * units.sizes.sum()
    for _ in range(len(codes)):
        excess = np.bincount(codes, units.sizes, minlength=len(parts)) - targets
        donor, receiver = int(excess.argmax()), int(excess.argmin())
        if excess[donor] <= MAX_EXCESS:
            return
        rows = np.flatnonzero((codes == donor) & (units.sizes < excess[donor] - excess[receiver]))
        if not len(rows):
            return
        rows = rows[np.argsort(_moving_costs(units, codes, parts, donor, receiver)[rows], kind="stable")]
        batch = int((np.cumsum(units.sizes[rows]) <= excess[donor] / BATCH).sum())
        codes[rows[: max(1, batch)]] = receiver


def _moving_costs(units: LabelUnits, codes: np.ndarray, parts: np.ndarray, donor: int, receiver: int) -> np.ndarray:
    """(u,) what is lost by moving a unit from one split to another: labels, and their proportion as `stratify_units` counts it."""
    entry_units = units.entry_units()
    splits = codes[entry_units]
    totals = np.bincount(units.labels, units.counts, minlength=units.classes)
    weights = units.counts / totals[units.labels]
    shares = label_shares(parts, units.units_with())
    lacks, present = [], []
    for split in (donor, receiver):
        labels = units.labels[splits == split]
        assigned = np.bincount(labels, weights[splits == split], minlength=units.classes)
        lacks.append(shares[split, :-1] - assigned)
        present.append(np.bincount(labels, minlength=units.classes))
    costs = 2 * weights * (weights + (lacks[0] - lacks[1])[units.labels])
    costs += LOST_LABEL * ((present[0] == 1).astype(int) - (present[1] == 0))[units.labels]
    return np.bincount(entry_units, costs, minlength=len(codes))
