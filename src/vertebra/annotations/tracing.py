"""Outlines of masks along the borders of their pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mask_outlines(mask: np.ndarray) -> list[np.ndarray]:
    """The borders of a mask as polygons: one around each part, whose pixels touch along their sides, and one around each hole.

    A polygon runs clockwise on the screen around a part and counterclockwise around a hole, with a vertex wherever the border
    turns, so that filling all of them by the even-odd rule gives the mask again.

    Args:
        mask: (H, W) bool.

    Returns:
        (2P,) float64 x, y, x, y … each, at pixel edges.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    # along +x there is mask below the border, along -x above it; along +y to the left, along -y to the right
    starts, ends = _sides(padded[1:, 1:-1] - padded[:-1, 1:-1])
    lines, rows = _sides((padded[1:-1, :-1] - padded[1:-1, 1:]).T)
    columns = mask.shape[1] + 1
    across = (starts[0] * columns + starts[1], ends[0] * columns + ends[1])
    down = (lines[1] * columns + lines[0], rows[1] * columns + rows[0])
    to_down = _following(across[1], starts[1] < ends[1], down[0], lines[1] < rows[1], right_turn=True)
    to_across = _following(down[1], lines[1] < rows[1], across[0], starts[1] < ends[1], right_turn=False)
    corners = np.stack([across[0], down[0][to_down]], axis=1) if len(to_down) else np.zeros((0, 2), dtype=np.int64)
    successor = to_across[to_down] if len(to_down) else to_down
    outlines = []
    for loop in _loops(successor.tolist()):
        y, x = np.divmod(corners[loop].reshape(-1), columns)
        outlines.append(np.stack([x, y], axis=1).reshape(-1).astype(np.float64))
    return outlines


def as_one_outline(outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Several outlines as one, joined by lines without width from the first vertex of the first; filled by the even-odd rule it
    is what the separate ones are."""
    first = outlines[0]
    if len(outlines) == 1:
        return first
    parts = [np.concatenate([outline, outline[:2], first[:2]]) for outline in outlines[1:]]
    return np.concatenate([first, first[:2], *parts])


def _sides(steps: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The straight sides of borders: the (line, position) of the starts and of the ends.

    Args:
        steps: (L, n) along each line 1 where the border runs up the positions, -1 where it runs down, 0 where there is none.
    """
    padded = np.pad(steps, ((0, 0), (1, 1)))
    changes = padded[:, 1:] != padded[:, :-1]
    line, first = np.nonzero(changes & (padded[:, 1:] != 0))
    _, last = np.nonzero(changes & (padded[:, :-1] != 0))
    forward = padded[line, first + 1] > 0
    return (line, np.where(forward, first, last)), (line, np.where(forward, last, first))


def _following(
    ends: np.ndarray, forward: np.ndarray, starts: np.ndarray, starts_forward: np.ndarray, *, right_turn: bool
) -> np.ndarray:
    """The side that follows each side: the one that starts where it ends; of two, that to the right.

    Args:
        ends, forward: where sides end, and whether they run up.
        starts, starts_forward: of the sides of the other direction.
        right_turn: whether a side that runs up turns right into one that runs up (from +x to +y).
    """
    order = np.argsort(starts * 2 + starts_forward)
    keys = (starts * 2 + starts_forward)[order]
    wanted = ends * 2 + (forward == right_turn)
    exact = np.searchsorted(keys, wanted)
    exact = np.minimum(exact, max(0, len(keys) - 1))
    other = np.minimum(np.searchsorted(keys, wanted ^ 1), max(0, len(keys) - 1))
    following: np.ndarray = order[np.where(keys[exact] == wanted, exact, other)] if len(keys) else order
    return following


def _loops(successor: list[int]) -> list[list[int]]:
    """The cycles of a permutation, by their first numbers."""
    seen = [False] * len(successor)
    loops = []
    for start in range(len(successor)):
        loop = []
        number = start
        while not seen[number]:
            seen[number] = True
            loop.append(number)
            number = successor[number]
        if loop:
            loops.append(loop)
    return loops
