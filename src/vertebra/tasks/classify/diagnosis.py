"""What a report shows of a model that classifies images (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vertebra.tasks.calibration import bin_totals, reliability_chart
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.object_scores import present_classes
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.classify.wrong_labels import wrong_classes, wrong_presences
from vertebra.tasks.diagnosis import Block, Cell, Diagnosis, LikelyWrongLabel, Matrix, Table
from vertebra.tasks.score_curves import ScoreCurve, best_thresholds, f1_chart, precision_recall_chart, score_curve

PRESENT = 0.5  # probability from which a multi-label classifier predicts a class, as in its metrics
MIN_PROBABILITY = 1e-7
MAX_NAMED = 3  # classes in the text of an image


class ClassifyDiagnosis:
    """Compares the probabilities of images with their classes.

    The loss of an image is the cross-entropy; for overlapping classes its mean over the classes.

    The probability of a class of which an image's label says nothing is kept as nan, which counts nowhere.

    Args:
        labels: the classes.
        noun: what has the classes, in the texts.
    """

    def __init__(self, labels: ClassifyLabels, noun: str = "image") -> None:
        self.labels, self.noun = labels, noun
        self.probabilities: list[np.ndarray] = []
        self.ground_truths: list[np.ndarray] = []

    def update(self, predictions: Sequence[ClassifyPrediction], ground_truths: Sequence[ClassifyAnnotation]) -> None:
        """Adds the predictions of some images and their annotations, in the same order.

        Raises:
            DataError: a label is not a class id, or for overlapping classes not (K,) of 0 and 1.
        """
        for prediction, annotation in zip(predictions, ground_truths, strict=True):
            probabilities = np.array(prediction.probabilities, dtype=np.float64)
            if annotation.known is not None:
                probabilities[~annotation.known] = np.nan
            self.probabilities.append(probabilities)
            self.ground_truths.append(present_classes(annotation, self.labels))

    def compute(self) -> Diagnosis:
        """The diagnosis of all images added so far."""
        shape = (len(self.probabilities), self.labels.class_count)
        probabilities = np.asarray(self.probabilities).reshape(shape)
        present = np.asarray(self.ground_truths, dtype=bool).reshape(shape)
        kind: _Classes = _Overlapping(self.noun) if self.labels.multilabel else _Exclusive(self.noun)
        names = self.labels.classes
        known = ~np.isnan(probabilities)
        columns = zip(probabilities.T, present.T, known.T, strict=True)
        curves = [score_curve(p[k], t[k], int(t.sum())) for p, t, k in columns]
        predicted = kind.predicted(probabilities)
        counts, rows, text = kind.confusion(predicted, present, names)
        blocks: list[Block] = [
            _class_table(names, predicted, present, curves, kind.decision, self.noun),
            Matrix(f"Confusion matrix ({self.noun}s)", "ground truth", "prediction", rows, rows, counts, text),
            precision_recall_chart(names, curves, "Each class against all others."),
            f1_chart(names, curves, "Each class against all others."),
            kind.reliability(probabilities, present),
        ]
        return Diagnosis(
            blocks,
            kind.losses(probabilities, present),
            kind.texts(probabilities, present, names),
            best_thresholds(names, curves),
            kind.wrong(probabilities, present, names),
        )


class _Classes(Protocol):
    """What differs between exclusive and overlapping classes; arrays are (N, K), bool but for the probabilities."""

    decision: str

    def predicted(self, probabilities: np.ndarray) -> np.ndarray: ...

    def confusion(
        self, predicted: np.ndarray, present: np.ndarray, names: Sequence[str]
    ) -> tuple[np.ndarray, Sequence[str], str]: ...

    def reliability(self, probabilities: np.ndarray, present: np.ndarray) -> Block: ...

    def losses(self, probabilities: np.ndarray, present: np.ndarray) -> np.ndarray: ...

    def texts(self, probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[str]: ...

    def wrong(self, probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[LikelyWrongLabel]: ...


class _Exclusive:
    """Each image, or object, has one class."""

    def __init__(self, noun: str) -> None:
        self.noun = noun

    decision = "Precision, recall and F1 are those of the most probable class."

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        rows = np.zeros(probabilities.shape, dtype=bool)
        rows[np.arange(len(rows)), probabilities.argmax(axis=1)] = True
        return rows

    def confusion(
        self, predicted: np.ndarray, present: np.ndarray, names: Sequence[str]
    ) -> tuple[np.ndarray, Sequence[str], str]:
        counts = (present.T.astype(np.float64) @ predicted).astype(np.int64)
        return counts, names, f"The diagonal is right; each row holds the {self.noun}s of one annotated class."

    def reliability(self, probabilities: np.ndarray, present: np.ndarray) -> Block:
        right = present[np.arange(len(present)), probabilities.argmax(axis=1)]
        totals = bin_totals(probabilities.max(axis=1, initial=0), right)
        return reliability_chart(totals, "probability of the predicted class", f"share of right {self.noun}s")

    def losses(self, probabilities: np.ndarray, present: np.ndarray) -> np.ndarray:
        losses: np.ndarray = -np.log(np.maximum(probabilities[present], MIN_PROBABILITY))
        return losses

    def texts(self, probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[str]:
        texts = []
        for row, true, predicted in zip(
            probabilities, present.argmax(axis=1), probabilities.argmax(axis=1), strict=True
        ):
            if true == predicted:
                texts.append(f"{names[true]} ({row[true]:.2f})")
            else:
                texts.append(f"{names[true]} ({row[true]:.2f}), predicted {names[predicted]} ({row[predicted]:.2f})")
        return texts

    def wrong(self, probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[LikelyWrongLabel]:
        return wrong_classes(probabilities, present.argmax(axis=1), names)


class _Overlapping:
    """Each image, or object, has any set of classes."""

    def __init__(self, noun: str) -> None:
        self.noun = noun

    decision = f"Precision, recall and F1 are those at a probability of {PRESENT}."

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        reached: np.ndarray = probabilities >= PRESENT
        return reached

    def confusion(
        self, predicted: np.ndarray, present: np.ndarray, names: Sequence[str]
    ) -> tuple[np.ndarray, Sequence[str], str]:
        missed, added = present & ~predicted, predicted & ~present
        counts = np.zeros((len(names) + 1, len(names) + 1), dtype=np.int64)
        counts[:-1, :-1] = missed.T.astype(np.float64) @ added
        counts[range(len(names)), range(len(names))] = (present & predicted).sum(axis=0)
        counts[:-1, -1] = missed[~added.any(axis=1)].sum(axis=0)
        counts[-1, :-1] = added[~missed.any(axis=1)].sum(axis=0)
        text = (
            f"The diagonal is right. A missed class is counted for each class that is wrongly predicted for the same {self.noun}, "
            f"or for 'nothing'; a wrongly predicted class of an {self.noun} without a missed one is in the row 'nothing'."
        )
        return counts, [*names, "nothing"], text

    def reliability(self, probabilities: np.ndarray, present: np.ndarray) -> Block:
        known = ~np.isnan(probabilities)
        totals = bin_totals(probabilities[known], present[known])
        return reliability_chart(totals, "probability of a class", f"share of {self.noun}s with the class")

    def losses(self, probabilities: np.ndarray, present: np.ndarray) -> np.ndarray:
        given = np.where(present, probabilities, 1 - probabilities)
        known = ~np.isnan(given)
        each = -np.log(np.maximum(np.where(known, given, 1), MIN_PROBABILITY))
        losses: np.ndarray = each.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return losses

    def texts(self, probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[str]:
        predicted = self.predicted(probabilities)
        texts = []
        for row, missed, added in zip(probabilities, present & ~predicted, predicted & ~present, strict=True):
            parts = [
                f"{word}: {_listed(names, row, which)}"
                for word, which in (("missed", missed), ("not annotated", added))
                if which.any()
            ]
            texts.append("; ".join(parts) or "all classes right")
        return texts

    def wrong(self, probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[LikelyWrongLabel]:
        return wrong_presences(probabilities, present, names)


def _class_table(
    names: Sequence[str],
    predicted: np.ndarray,
    present: np.ndarray,
    curves: Sequence[ScoreCurve],
    decision: str,
    noun: str,
) -> Table:
    """One row a class."""
    rows: list[list[Cell]] = []
    for row, (name, curve) in enumerate(zip(names, curves, strict=True)):
        right = int((predicted[:, row] & present[:, row]).sum())
        true, positives = int(present[:, row].sum()), int(predicted[:, row].sum())
        precision, recall = (right / count if count else None for count in (positives, true))
        f1 = 2 * right / (true + positives) if true + positives else None
        average = curve.average_precision if true else None
        rows.append([name, true, precision, recall, f1, average, curve.threshold])
    columns = ["class", f"{noun}s", "precision", "recall", "F1", "average precision", "best threshold"]
    text = f"{decision} The best threshold is the probability from which the class alone has the best F1."
    return Table("Classes", columns, rows, text)


def _listed(names: Sequence[str], probabilities: np.ndarray, which: np.ndarray) -> str:
    """Some classes with their probabilities, the first few of them."""
    ids = np.flatnonzero(which)
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(f"{names[row]} ({probabilities[row]:.2f})" for row in ids[:MAX_NAMED]) + more
