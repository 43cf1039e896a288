"""Connected components, on arrays."""

from __future__ import annotations

import numpy as np


def join(parents: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Unites the components of pairs of nodes, in place.

    Args:
        parents: (n,) int64, each node's component, named by its lowest node; ``arange(n)`` where nothing is united yet. It is
            so again afterwards.
        first, second: (p,) int64, the nodes of each pair.
    """
    while True:
        one, other = parents[first], parents[second]
        differ = one != other
        if not differ.any():
            return
        first, second, one, other = first[differ], second[differ], one[differ], other[differ]
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))
        while True:
            upper = parents[parents]
            if np.array_equal(upper, parents):
                break
            parents[:] = upper


def numbered(codes: np.ndarray) -> np.ndarray:
    """Codes replaced by 0, 1, 2 … in the order in which they first occur.

    Args:
        codes: (n,) of any type that can be sorted.

    Returns:
        (n,) int64.
    """
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    ranks = np.empty(len(first), dtype=np.int64)
    ranks[np.argsort(first)] = np.arange(len(first))
    numbers: np.ndarray = ranks[inverse.reshape(-1)]
    return numbers
