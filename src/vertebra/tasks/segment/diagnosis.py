"""What a report shows of a model that segments images (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.calibration import BINS, bin_totals, reliability_chart
from vertebra.tasks.diagnosis import BarChart, Block, Cell, Diagnosis, Matrix, Table
from vertebra.tasks.score_curves import (
    ScoreCurve,
    best_thresholds,
    curve_of_histograms,
    f1_chart,
    precision_recall_chart,
)
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.pixel_errors import (
    KINDS,
    MEANING,
    ComparedPixels,
    PixelErrors,
    compare_pixels,
    exclusive_errors,
    overlapping_errors,
)
from vertebra.tasks.segment.types import SegmentPrediction
from vertebra.tasks.segment.wrong_labels import DoubtedRegions, doubted_regions, wrong_regions

SCORE_BINS = 100
ADVICE = (
    "Take a larger canvas (--image-size), or a decoder with finer maps, and check whether outlines are annotated alike.",
    "Label more images with things that resemble the wrongly predicted classes.",
    "Label more images of the classes that are not predicted, or give them a weight (decoder.loss.class_weights).",
    "The table of confused classes shows which: label more images of these, or merge them.",
)
MAX_PAIRS = 20  # of classes in a table


class SegmentDiagnosis:
    """Compares predicted masks with annotated ones; ignored pixels are left out.

    The loss of an image is 1 - its mean IoU over the classes that occur in it or in its prediction. Calibration, and for
    overlapping classes curves and thresholds, need predictions with probabilities; likely wrong labels are better with them.

    Args:
        labels: the classes.
    """

    def __init__(self, labels: SegmentLabels) -> None:
        self.labels = labels
        self.total: PixelErrors | None = None
        self.losses: list[float] = []
        self.texts: list[str] = []
        self.doubts: list[DoubtedRegions] = []
        self.bins = np.zeros((3, BINS))
        self.histograms = np.zeros((2, labels.class_count, SCORE_BINS), dtype=np.int64)  # absent and present classes

    def update(self, predictions: Sequence[SegmentPrediction], ground_truths: Sequence[SegmentAnnotation]) -> None:
        """Adds the predictions of some images and their annotations, in the same order.

        Raises:
            DataError: a mask has another size than the prediction, or a value without a class.
        """
        count, errors_of = self.labels.class_count, overlapping_errors if self.labels.multilabel else exclusive_errors
        for prediction, annotation in zip(predictions, ground_truths, strict=True):
            pixels = compare_pixels(prediction, annotation, self.labels)
            errors = errors_of(pixels, count)
            self.total = errors if self.total is None else self.total + errors
            self.losses.append(1 - (1.0 if errors.mean_iou is None else errors.mean_iou))
            self.texts.append(_image_text(errors, self._row_names()))
            self.doubts.append(doubted_regions(pixels, prediction.probabilities, count))
            if prediction.probabilities is not None:
                self._add_probabilities(pixels, prediction.probabilities)

    def _add_probabilities(self, pixels: ComparedPixels, probabilities: np.ndarray) -> None:
        """Adds to the bins of calibration, and to the histograms of overlapping classes."""
        if not self.labels.multilabel:
            right = (pixels.true == pixels.predicted)[pixels.counted]
            self.bins += bin_totals(probabilities.max(axis=0)[pixels.counted], right)
            return
        for k, (counted, present) in enumerate(zip(pixels.counted, pixels.true, strict=True)):
            scores, labels = probabilities[k][counted], present[counted]
            self.bins += bin_totals(scores, labels)
            bins = np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
            codes = labels * SCORE_BINS + bins
            self.histograms[:, k] += np.bincount(codes, minlength=2 * SCORE_BINS).reshape(2, SCORE_BINS)

    def compute(self) -> Diagnosis:
        """The diagnosis of all images added so far."""
        names, total = self._row_names(), self.total
        if total is None:
            return Diagnosis([], np.zeros(0), [])
        curves, text = [], "Each row holds the pixels of one annotated class."
        if self.histograms.any():
            absent, present = self.histograms
            curves = [curve_of_histograms(p, a, int(p.sum())) for p, a in zip(present, absent, strict=True)]
        blocks: list[Block] = [
            _class_table(self.labels.classes, total, curves),
            *_error_charts(total),
            Matrix("Confusion matrix (pixels)", "ground truth", "prediction", names, names, total.confusion, text),
            _confusion_table(names, total),
        ]
        if self.bins.any():
            blocks.append(self._reliability())
        if curves:
            text = "Each pixel and class counts by itself."
            blocks += [chart(self.labels.classes, curves, text) for chart in (precision_recall_chart, f1_chart)]
        thresholds = best_thresholds(self.labels.classes, curves) if curves else {}
        states = self.labels.classes
        if self.labels.multilabel:
            states = tuple(state for name in states for state in (f"not {name}", name))
        wrong = wrong_regions(self.doubts, states)
        return Diagnosis(blocks, np.array(self.losses), list(self.texts), thresholds, wrong)

    def _reliability(self) -> Block:
        if self.labels.multilabel:
            return reliability_chart(self.bins, "probability of a class", "share of pixels with the class")
        return reliability_chart(self.bins, "probability of the predicted class", "share of right pixels")

    def _row_names(self) -> list[str]:
        """The names of rows and columns of the confusion matrix."""
        return [*self.labels.classes, *(["nothing"] if self.labels.multilabel else [])]


def _image_text(errors: PixelErrors, names: Sequence[str]) -> str:
    """The mean IoU of an image, and its most frequent confusion."""
    if errors.mean_iou is None:
        return "no labeled pixels" if not errors.counted[0] else "no class, none predicted"
    wrong = errors.confusion * (1 - np.eye(len(names), dtype=np.int64))
    if not wrong.any():
        return "all pixels right"
    true, predicted = divmod(int(wrong.argmax()), len(names))
    share = wrong[true, predicted] / errors.counted[0]
    return (
        f"mean IoU {errors.mean_iou:.2f}; most: {names[true]} taken for {names[predicted]} ({share:.1%} of the pixels)"
    )


def _class_table(names: Sequence[str], total: PixelErrors, curves: Sequence[ScoreCurve]) -> Table:
    """One row a class."""
    wrong = total.false_positives + total.false_negatives
    pixels = max(int(total.true.sum()), 1)
    rows: list[list[Cell]] = []
    for k, name in enumerate(names):
        right, true, positives = (int(part[k]) for part in (total.right, total.true, total.predicted))
        iou = float(total.class_iou[k]) if true + positives else None
        ratios = [right / count if count else None for count in (positives, true)]
        near = float(wrong[0, k] / wrong[:, k].sum()) if wrong[:, k].any() else None
        rows.append([name, true, true / pixels, iou, *ratios, near, *([curves[k].threshold] if curves else [])])
    columns = ["class", "pixels", "share", "IoU", "precision", "recall", "errors near a boundary"]
    columns += ["best threshold"] if curves else []
    text = "Errors near a boundary: the share of the class's wrong pixels within 1 % of the diagonal of a boundary."
    return Table("Classes", columns, rows, text)


def _error_charts(total: PixelErrors) -> list[Block]:
    """What fixing each kind of error would gain, and the share of wrong pixels near boundaries and elsewhere."""
    gained = (100 * total.gains()).tolist()
    counts = (total.false_positives + total.false_negatives).sum(axis=1)
    shares = (counts / max(counts.sum(), 1)).tolist()
    text = "How much the mean IoU would rise if all wrong pixels of one kind alone were fixed."
    rows = [list(row) for row in zip(KINDS, MEANING, shares, gained, strict=True)]
    inside = total.counted - total.near
    rates = [float(100 * part[1] / max(part[0], 1)) for part in (total.near, inside)]
    areas = float(total.near[0] / max(total.counted[0], 1))
    return [
        BarChart(
            "What fixing each kind of error would gain",
            dict(zip(KINDS, gained, strict=True)),
            "points of mean IoU",
            text,
            dict(zip(KINDS, ADVICE, strict=True)),
        ),
        Table("Kinds of error", ["kind", "the wrong pixel is", "share of wrong pixels", "points of mean IoU"], rows),
        BarChart(
            "Wrong pixels near a boundary and elsewhere",
            dict(zip(("near a boundary", "elsewhere"), rates, strict=True)),
            "% of the pixels there",
            f"{areas:.0%} of the pixels are within 1 % of the diagonal of a boundary.",
        ),
    ]


def _confusion_table(names: Sequence[str], total: PixelErrors) -> Table:
    """The pairs of classes that are confused on the largest number of pixels, and where."""
    wrong = total.confusion * (1 - np.eye(len(names), dtype=np.int64))
    rows: list[list[Cell]] = []
    for index in np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]:
        true, predicted = divmod(int(index), len(names))
        count = int(wrong[true, predicted])
        if count:
            near = float(total.confusion_near[true, predicted] / count)
            of_class = float(count / total.confusion[true].sum())
            rows.append([names[true], names[predicted], count, of_class, near])
    columns = ["annotated", "predicted", "pixels", "share of the class", "near a boundary"]
    text = "Confusions near a boundary are inaccurate outlines; the others are regions taken for another class."
    return Table("Which classes are confused where", columns, rows, text)
