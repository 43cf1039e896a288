"""Divides images into splits or folds, with each class in proportion and groups kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.data.analysis.label_units import LabelUnits, label_units
from vertebra.data.analysis.split_sizes import meet_shares
from vertebra.data.analysis.stratify_units import fill_missing, stratify_singles, stratify_units
from vertebra.errors import ConfigError

SHARE_TOLERANCE = 0.1  # of a split's share; larger deviations are reported
SHOWN = 5  # classes in a sentence


@dataclass(frozen=True, eq=False)
class Division:
    """Images divided into splits.

    Attributes:
        names: the splits.
        codes: (n,) int8, the split of each image, as a position in ``names``.
        sizes: (S,) int64, images of each split.
        counts: (S, K) int64, the images or objects of each class in each split.
        missing: (split, class) of each class that occurs, but not in this split, as positions.
        notes: what could not be met, in sentences; classes are named by their numbers, or names where they were given.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    missing: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


def divide_stratified(
    count: int,
    shares: Mapping[str, float],
    seed: int,
    *,
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    keys: Sequence[str] | np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Division:
    """Divides images at random so that each class has its share in each split.

    Single labels are divided class by class. Several labels or counts are divided by iterative stratification: the rarest class
    first, each image to the split that lacks most of its classes. Then each split gets an image of each class where there
    are enough. With several labels or counts, the shares come first: no split gets more than an image above its share, as
    far as groups allow it, and may lack a class for this. The division is the same for the same seed, and for any order of
    the images where ``keys`` are there.

    Sechidis et al., On the Stratification of Multi-Label Data, ECML PKDD 2011 (differences: all classes of an image count,
    weighted by their rarity; counts instead of presence; groups as units, larger ones first; at least one unit of
    each class in each split; the shares of the images are met).

    Args:
        count: number of images, n.
        shares: the share of each split, in order; they sum to 1.
        seed: of the division.
        labels: (n,) class numbers, -1 for none; or (n, K) counts of objects, or 0 and 1. None for no classes.
        groups: (n,) codes; images with equal codes come into one split. None for images on their own.
        keys: (n,) different names of the images, such as paths.
        classes: names of the classes, for the notes.

    Raises:
        ConfigError: the shares are not positive or do not sum to 1, or there are more than 127.
        ValueError: an array has the wrong shape.
    """
    names, parts = tuple(shares), _checked_shares(shares)
    for what, array in (("labels", labels), ("groups", groups), ("keys", keys)):
        if array is not None and len(array) != count:
            raise ValueError(f"{what} must be one for each of {count} images, got {len(array)}")
    order = np.arange(count) if keys is None else np.argsort(np.asarray(keys), kind="stable")
    order = order[np.random.default_rng([seed, count]).permutation(count)]
    units = label_units(labels, groups, order)
    codes = stratify_singles(units, parts) if units.single else stratify_units(units, parts)
    fill_missing(units, codes, parts)
    if not units.single:
        meet_shares(units, codes, parts)
    return _division(names, parts, codes, units, classes, grouped=len(units.sizes) < count)


def divide_folds(
    count: int,
    folds: int,
    seed: int,
    *,
    labels: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    keys: Sequence[str] | np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Division:
    """Divides images into folds of equal size for cross-validation, as `divide_stratified` does.

    Args:
        count, seed, labels, groups, keys, classes: see `divide_stratified`.
        folds: 2 to 127.

    Raises:
        ConfigError: the number of folds is out of range.
    """
    if not 2 <= folds <= 127:
        raise ConfigError(f"folds: {folds} is not 2 to 127")
    shares = {f"fold_{number}": 1 / folds for number in range(folds)}
    return divide_stratified(count, shares, seed, labels=labels, groups=groups, keys=keys, classes=classes)


def _checked_shares(shares: Mapping[str, float]) -> np.ndarray:
    parts = np.array(list(shares.values()), dtype=np.float64)
    listed = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    if not len(parts) or len(parts) > 127 or not np.isfinite(parts).all() or (parts <= 0).any():
        raise ConfigError(f"shares of splits: {listed or 'none'}; give 1 to 127 of them, each above 0")
    if abs(parts.sum() - 1) > 1e-6:
        raise ConfigError(f"shares of splits: {listed}; their sum is {parts.sum():g}, and must be 1")
    return np.asarray(parts / parts.sum())


def _division(
    names: tuple[str, ...],
    parts: np.ndarray,
    codes: np.ndarray,
    units: LabelUnits,
    classes: Sequence[str],
    *,
    grouped: bool,
) -> Division:
    count = len(units.unit_of)
    sizes = np.bincount(codes, units.sizes, minlength=len(names)).round().astype(np.int64)
    counts = units.counts_by(codes, len(names))
    occurs = counts.sum(axis=0) > 0
    lacking = [(split, label) for split, label in np.argwhere((counts == 0) & occurs).tolist()]
    noun = "group" if grouped else "image"
    notes = []
    for split, name in enumerate(names):
        labels = [label for at, label in lacking if at == split]
        if labels:
            notes.append(_missing_note(name, labels, units.units_with(), classes, noun, len(names)))
        if count and not sizes[split]:
            notes.append(f"split '{name}' has no image: there {_are(len(units.sizes), noun)} for {len(names)} splits")
        elif abs(sizes[split] - parts[split] * count) > max(1, SHARE_TOLERANCE * parts[split] * count):
            cause = "groups are kept together" if grouped else "each split has an image of each class where it can"
            notes.append(
                f"split '{name}' has {sizes[split] / count:.1%} of the images instead of {parts[split]:.1%}: {cause}"
            )
    return Division(names, codes[units.unit_of].astype(np.int8), sizes, counts, tuple(lacking), tuple(notes))


def _missing_note(
    split: str, labels: list[int], units_with: np.ndarray, classes: Sequence[str], noun: str, splits: int
) -> str:
    """A sentence about the classes that a split lacks, with the number of images or groups that have them, and why."""
    shown = [
        f"{classes[label] if label < len(classes) else label} (there {_are(int(units_with[label]), noun)})"
        for label in labels[:SHOWN]
    ]
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    crowded = sum(int(units_with[label]) >= splits for label in labels)
    cause = f"; its share of the images has no room for {crowded} of them" if crowded else ""
    return f"split '{split}' lacks {'class' if len(labels) == 1 else 'classes'} {', '.join(shown)}{more}{cause}"


def _are(count: int, noun: str) -> str:
    return f"is 1 {noun}" if count == 1 else f"are {count} {noun}s"
