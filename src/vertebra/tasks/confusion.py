"""Blocks of a report about which classes are confused (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.diagnosis import Cell, Matrix, Table

MAX_NAMES = 30  # rows and columns of a matrix
MAX_PAIRS = 20


def confusion_matrix(names: Sequence[str], counts: np.ndarray, unit: str, text: str) -> Matrix:
    """The confusion matrix. Of many classes, those with the most confusions; the others are summed in one row and column.

    Args:
        names: of the classes; of rows and columns alike.
        counts: (K, K), annotated classes in rows.
        unit: what is counted, such as "images".
        text: how it is to be read.
    """
    if len(names) > MAX_NAMES:
        wrong = counts * (1 - np.eye(len(names), dtype=counts.dtype))
        shown = np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[: MAX_NAMES - 1])
        group = np.full(len(names), len(shown))
        group[shown] = np.arange(len(shown))
        merged = np.zeros((len(shown) + 1, len(shown) + 1), dtype=counts.dtype)
        np.add.at(merged, (group[:, None], group[None]), counts)
        text = f"{text} Shown are the {len(shown)} of {len(names)} classes with the most confusions."
        names, counts = [*(names[row] for row in shown), "all other classes"], merged
    return Matrix(f"Confusion matrix ({unit})", "ground truth", "prediction", list(names), list(names), counts, text)


def frequent_confusions(names: Sequence[str], counts: np.ndarray, unit: str) -> Table:
    """The pairs of classes that are confused most often; see `confusion_matrix`."""
    totals = counts.sum(axis=1)
    wrong = counts * (1 - np.eye(len(names), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    rows: list[list[Cell]] = []
    for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[true, predicted] > 0:
            share = float(wrong[true, predicted] / totals[true])
            rows.append([names[true], names[predicted], int(wrong[true, predicted]), share])
    text = f"Share is the part of all {unit} of the annotated class."
    return Table("Most frequent confusions", ["annotated", "predicted", unit, "share"], rows, text)
