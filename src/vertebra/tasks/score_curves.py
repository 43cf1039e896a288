"""Precision, recall and F1 over all score thresholds, average precision, and charts of them (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vertebra.tasks.diagnosis import Curve, LineChart

GRID = np.linspace(0, 1, 101)
MAX_CURVES = 100  # classes in one chart


@dataclass(frozen=True, eq=False)
class ScoreCurve:
    """Precision and recall of one class at each score threshold. A prediction counts if its score reaches the threshold.

    Attributes:
        scores: (T,) the different scores, highest first.
        precision, recall: (T,) of the predictions that reach each of them.
        positives: number of annotated objects or images of the class.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    positives: int

    @cached_property
    def f1(self) -> np.ndarray:
        """(T,) the harmonic mean of precision and recall; 0 where both are 0."""
        both = self.precision + self.recall
        f1: np.ndarray = 2 * self.precision * self.recall / np.maximum(both, 1e-12)
        return f1

    @cached_property
    def row(self) -> int | None:
        """The row with the best F1, of several the one with the highest score; None where no prediction is right."""
        row = int(self.f1.argmax()) if len(self.f1) else 0
        return row if len(self.f1) and self.f1[row] > 0 else None

    @property
    def threshold(self) -> float | None:
        """The threshold with the best F1, midway to the next lower score; None where no prediction is right."""
        if self.row is None:
            return None
        return float(self.scores[self.row : self.row + 2].astype(np.float64).mean())

    @property
    def average_precision(self) -> float:
        """The area under the steps of precision over recall; 0 without positives."""
        return float((np.diff(self.recall, prepend=0) * self.precision).sum())

    def interpolated_precision(self, recall: np.ndarray) -> np.ndarray:
        """The highest precision with at least this recall (R,); 0 where it is not reached."""
        highest = np.append(np.maximum.accumulate(self.precision[::-1])[::-1], 0)
        precision: np.ndarray = highest[np.searchsorted(self.recall, recall - 1e-9)]
        return precision

    def f1_at(self, thresholds: np.ndarray) -> np.ndarray:
        """F1 at thresholds (R,); 0 where no score reaches them."""
        reached = np.searchsorted(-self.scores, -thresholds, side="right")
        f1: np.ndarray = np.append(0, self.f1)[reached]
        return f1


def score_curve(scores: np.ndarray, correct: np.ndarray, positives: int) -> ScoreCurve:
    """The curve of one class.

    Args:
        scores: (N,) of its predictions.
        correct: (N,) bool.
        positives: number of annotated objects or images of the class.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])  # equal scores count together
    right = np.cumsum(correct[order])[ends]
    return ScoreCurve(ranked[ends], right / (ends + 1.0), right / max(positives, 1), positives)


def curve_of_histograms(right: np.ndarray, wrong: np.ndarray, positives: int) -> ScoreCurve:
    """The curve of one class from the number of right and of wrong predictions in equally wide bins of the score.

    Args:
        right, wrong: (B,) from score 0 to 1.
        positives: as for `score_curve`.
    """
    centers = (np.arange(len(right)) + 0.5) / len(right)
    hits, alarms = (np.cumsum(counts[::-1]) for counts in (right, wrong))
    return ScoreCurve(centers[::-1], hits / np.maximum(hits + alarms, 1), hits / max(positives, 1), positives)


def coco_average_precision(correct: np.ndarray, positives: int) -> float:
    """COCO's average precision: the mean of the interpolated precision at 101 recalls; 0 without positives.

    Args:
        correct: (N,) bool of the predictions, best score first; equal scores keep their order.
        positives: number of annotated objects of the class.
    """
    if not positives or not len(correct):
        return 0.0
    right = np.cumsum(correct)
    precision = right / np.arange(1.0, len(right) + 1)
    highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return float(highest[np.searchsorted(right / positives, GRID)].mean())


def precision_recall_chart(names: Sequence[str], curves: Sequence[ScoreCurve], text: str) -> LineChart:
    """Interpolated precision over recall, each class with its best threshold marked.

    Args:
        names: of the classes.
        curves: of the classes; those without positives are left out.
        text: what a correct prediction is.
    """
    shown, note = _shown(names, curves)
    lines = []
    for name, curve in shown:
        recall = GRID[: np.searchsorted(GRID, curve.recall.max(initial=0) + 1e-9)]
        mark = None if curve.row is None else (float(curve.recall[curve.row]), float(curve.precision[curve.row]))
        lines.append(Curve(name, recall, curve.interpolated_precision(recall), mark))
    marks = "The mark is the threshold with the best F1."
    return LineChart("Precision and recall", "recall", "precision", lines, " ".join([text, marks, *note]))


def f1_chart(names: Sequence[str], curves: Sequence[ScoreCurve], text: str) -> LineChart:
    """F1 over the score threshold, each class with its best threshold marked; see `precision_recall_chart`."""
    shown, note = _shown(names, curves)
    lines = []
    for name, curve in shown:
        mark = None if curve.threshold is None else (curve.threshold, float(curve.f1.max()))
        lines.append(Curve(name, GRID, curve.f1_at(GRID), mark))
    marks = "The mark is the threshold with the best F1; a flat top means that the threshold matters little."
    return LineChart("F1 and score threshold", "score threshold", "F1", lines, " ".join([text, marks, *note]))


def best_thresholds(names: Sequence[str], curves: Sequence[ScoreCurve]) -> dict[str, float]:
    """The threshold with the best F1 by class; classes without a right prediction are left out."""
    known = {name: curve.threshold for name, curve in zip(names, curves, strict=True)}
    return {name: threshold for name, threshold in known.items() if threshold is not None}


def _shown(names: Sequence[str], curves: Sequence[ScoreCurve]) -> tuple[list[tuple[str, ScoreCurve]], list[str]]:
    """The classes that a chart shows, and a sentence about it where these are not all."""
    known = [(name, curve) for name, curve in zip(names, curves, strict=True) if curve.positives]
    if len(known) <= MAX_CURVES:
        return known, []
    worst = sorted(known, key=lambda entry: entry[1].average_precision)[:MAX_CURVES]
    return worst, [f"Shown are the {MAX_CURVES} of {len(known)} classes with the lowest average precision."]
