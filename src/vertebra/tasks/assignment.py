"""One-to-one assignment of rows and columns, by least cost or largest gain (numpy only)."""

from __future__ import annotations

from typing import Any

import numpy as np

from vertebra.tasks.box_iou import connected_components


def min_cost_assignment(cost: np.ndarray) -> np.ndarray:
    """A column for each row, all different, with the least sum; by shortest augmenting paths.

    Jonker and Volgenant, A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems, Computing
    38, 1987. Inside, rows and columns are counted from 1; 0 is none.

    Args:
        cost: (rows, columns), at most as many rows as columns.
    """
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, dtype=np.int64)
    for row in range(1, rows + 1):
        owner[0], column = row, 0
        slack, previous = np.full(columns + 1, np.inf), np.zeros(columns + 1, dtype=np.int64)
        visited = np.zeros(columns + 1, dtype=bool)
        while owner[column]:
            visited[column] = True
            current = owner[column]
            reduced: Any = cost[current - 1] - row_price[current] - column_price[1:]
            better = np.flatnonzero(~visited[1:] & (reduced < slack[1:])) + 1
            slack[better], previous[better] = reduced[better - 1], column
            following = int(np.where(visited, np.inf, slack)[1:].argmin()) + 1
            step = slack[following]
            row_price[owner[visited]] += step
            column_price[visited] -= step
            slack[~visited] -= step
            column = following
        while column:  # back along the path: each column takes the row of its predecessor
            owner[column] = owner[previous[column]]
            column = int(previous[column])
    taken = np.flatnonzero(owner[1:])
    result = np.empty(rows, dtype=np.int64)
    result[owner[1:][taken] - 1] = taken
    return result


def max_gain_pairs(gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows and columns, each in at most one pair, with the largest sum of gains.

    Pairs without competition are taken at once; the others are solved by groups that share rows or columns.

    Args:
        gains: (R, C); pairs whose gain is not positive are never taken.

    Returns:
        (P,) rows in rising order, and (P,) columns.
    """
    rows, columns = np.nonzero(gains > 0)
    if not len(rows):
        return rows, columns
    row_degree = np.bincount(rows, minlength=gains.shape[0])
    column_degree = np.bincount(columns, minlength=gains.shape[1])
    alone = (row_degree[rows] == 1) & (column_degree[columns] == 1)
    pairs = [np.stack([rows[alone], columns[alone]], axis=1)]
    rows, columns = rows[~alone], columns[~alone]
    if len(rows):
        roots = connected_components(sum(gains.shape), np.stack([rows, columns + gains.shape[0]], axis=1))[rows]
        order = np.argsort(roots, kind="stable")
        cuts = np.flatnonzero(np.diff(roots[order])) + 1
        pairs += [_group_pairs(gains, rows[group], columns[group]) for group in np.split(order, cuts)]
    taken = np.concatenate(pairs)
    taken = taken[np.argsort(taken[:, 0])]
    return taken[:, 0], taken[:, 1]


def _group_pairs(gains: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The pairs (P, 2) of a group of competing pairs."""
    if len(rows) == 2 or rows[0] == rows[-1] or columns.min() == columns.max():  # a star: one row or one column
        largest = int(gains[rows, columns].argmax())
        return np.array([[rows[largest], columns[largest]]])
    row_ids, column_ids = np.unique(rows), np.unique(columns)
    cost = -np.maximum(gains[np.ix_(row_ids, column_ids)], 0)
    if len(row_ids) <= len(column_ids):
        first, second = np.arange(len(row_ids)), min_cost_assignment(cost)
    else:
        first, second = min_cost_assignment(cost.T), np.arange(len(column_ids))
    real = cost[first, second] < 0
    return np.stack([row_ids[first[real]], column_ids[second[real]]], axis=1)
