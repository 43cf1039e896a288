"""Proposes which points are left and right of one another, for a person to confirm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.keypoints.flip_pairs_by_name import Pairs, read_names
from vertebra.tasks.keypoints.flip_pairs_by_position import pairs_by_position
from vertebra.tasks.keypoints.labels import KeypointLabels

SHOWN = 4


def propose_pairs(labels: KeypointLabels, points: np.ndarray) -> str:
    """What is known about left and right of points whose pairs are not known, with a line for the config where there is one.

    Pairs are proposed from where the points lie on the objects, where that is beyond doubt and does not contradict the names; else
    those that the names tell, with the points that they leave undecided.

    Args:
        labels: the points' names.
        points: (M, K, 3) x, y, visibility of the objects of a data set.
    """
    named = read_names(labels.points)
    by_position = pairs_by_position(points)
    if by_position is not None and _unordered(named.pairs) <= _unordered(by_position):
        return _text(labels.points, by_position, f"the places of the points on {len(points)} objects propose", "")
    if named.pairs:
        undecided = ", ".join(labels.points[point] for point in named.undecided)
        rest = f" The names leave undecided: {undecided}; add their pairs, or leave them out where they lie on the mid-line."
        return _text(labels.points, named.pairs, "the names of the points propose", rest)
    return f"images are not mirrored in training, for {labels.mirror_refusal}"


def _unordered(pairs: Pairs) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in pairs}


def _text(points: Sequence[str], pairs: Pairs, what: str, rest: str) -> str:
    listed = [f"{points[left]} and {points[right]}" for left, right in pairs]
    shown = ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")
    line = ", ".join(f"[{left}, {right}]" for left, right in pairs)
    return (
        "images are not mirrored in training, for it is not known which points are left and right of one another; "
        f"{what}: {shown}.{rest} If that is right, put this line into the config, beside the branch's decoder:\n"
        f"    flip_pairs: [{line}]"
    )
