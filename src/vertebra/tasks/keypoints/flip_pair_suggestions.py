"""Suggests the left-right pairs of points, for the user to confirm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.keypoints.flip_pairs_by_name import Pairs, read_names
from vertebra.tasks.keypoints.flip_pairs_by_position import pairs_by_position
from vertebra.tasks.keypoints.labels import KeypointLabels

SHOWN = 4


def propose_pairs(labels: KeypointLabels, points: np.ndarray) -> str:
    """A sentence that suggests left-right pairs of points, with a line for the config if there are any.

    Pairs are suggested by the positions of the points on the objects if these are unambiguous and do not contradict the names;
    otherwise by the names, listing the points that they leave undecided.

    Args:
        labels: the points' names.
        points: (M, K, 3) x, y, visibility of the objects of a data set.
    """
    named = read_names(labels.points)
    by_position = pairs_by_position(points)
    if by_position is not None and _unordered(named.pairs) <= _unordered(by_position):
        return _text(labels.points, by_position, f"the positions of the points on {len(points)} objects suggest", "")
    if named.pairs:
        undecided = ", ".join(labels.points[point] for point in named.undecided)
        rest = f" The names leave undecided: {undecided}; add their pairs, or leave them out where they lie on the mid-line."
        return _text(labels.points, named.pairs, "the names of the points suggest", rest)
    return f"images are not mirrored in training, because {labels.mirror_refusal}"


def _unordered(pairs: Pairs) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in pairs}


def _text(points: Sequence[str], pairs: Pairs, what: str, rest: str) -> str:
    listed = [f"{points[left]} and {points[right]}" for left, right in pairs]
    shown = ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")
    line = ", ".join(f"[{left}, {right}]" for left, right in pairs)
    return (
        "images are not mirrored in training, because the left-right pairs of the points are unknown; "
        f"{what}: {shown}.{rest} If that is right, put this line into the config, beside the branch's decoder:\n"
        f"    flip_pairs: [{line}]"
    )
