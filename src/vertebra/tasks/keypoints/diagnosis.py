"""What a report shows of a model that locates keypoints (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.diagnosis import BarChart, Block, Cell, Diagnosis, Table
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.distances import lengths_of
from vertebra.tasks.keypoints.error_kinds import (
    INVERSION,
    KINDS,
    MEANING,
    SWAP,
    PointErrors,
    concatenate,
    fix,
    point_errors,
)
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.oks import object_pairs
from vertebra.tasks.keypoints.rows import GroundTruthRows, PredictedRows
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.keypoints.wrong_labels import wrong_points
from vertebra.tasks.score_curves import best_thresholds, f1_chart, precision_recall_chart

SHARES = (0.05, 0.1, 0.2)
OKS_BINS = 10
SIZE_TEXT = "Relative errors are shares of the longer side of the object's box; PCK@0.1 is the share of points within 0.1 of it."
ADVICE = (
    "Take a larger canvas (--image-size), and check whether the points are annotated precisely.",
    "Check flip_pairs, and the labels of left and right; then label more images of such poses.",
    "Label more images in which objects are close together.",
    "Label more images like the worst ones.",
)
RIGHT = "An object is right if its OKS with an annotated object of its class is 0.5 or more."


class KeypointDiagnosis:
    """Compares predicted points with annotated ones. Objects are matched as in the metrics; crowds are left out.

    The loss of an image is the mean error of its labeled points as a share of the object's size, each at most 1; the points of a
    missed object count as 1, an image without objects has 0.

    Args:
        labels: the points and classes.
    """

    def __init__(self, labels: KeypointLabels) -> None:
        self.labels = labels
        self.sigmas = np.array(labels.oks_sigmas)
        self.predicted: list[PredictedRows] = []
        self.true: list[GroundTruthRows] = []
        self.errors: list[PointErrors] = []

    def update(self, predictions: Sequence[KeypointPrediction], ground_truths: Sequence[KeypointAnnotation]) -> None:
        """Adds the predictions of some images and their annotations, in the same order."""
        count = len(self.labels.points)
        for prediction, annotation in zip(predictions, ground_truths, strict=True):
            predicted = PredictedRows.unpack(PredictedRows.pack(prediction), count)
            true = GroundTruthRows.unpack(GroundTruthRows.pack(annotation, lengths_of(annotation, "box")), count)
            scores = prediction.point_scores.astype(np.float64)
            self.errors.append(point_errors(predicted, scores, true, len(self.true), self.sigmas))
            self.predicted.append(predicted)
            self.true.append(true)

    def compute(self) -> Diagnosis:
        """The diagnosis of all images added so far."""
        if not self.errors:
            return Diagnosis([], np.zeros(0), [])
        errors, labels = concatenate(self.errors), self.labels
        pairs = object_pairs(self.predicted, self.true, labels.class_count, self.sigmas)
        curves = pairs.curves()
        blocks: list[Block] = [
            *_point_blocks(errors, labels.points),
            *self._error_charts(errors, pairs.mean_average_precision()),
            _oks_histogram(errors),
            _visibility_table(errors),
        ]
        if labels.flip_pairs:
            blocks.append(_pair_table(errors, labels))
        blocks += [chart(labels.classes, curves, RIGHT) for chart in (precision_recall_chart, f1_chart)]
        return Diagnosis(
            blocks,
            _image_losses(errors, len(self.true)),
            [_image_text(image, labels.points) for image in self.errors],
            best_thresholds(labels.classes, curves),
            wrong_points(errors, labels),
        )

    def _error_charts(self, errors: PointErrors, average: float | None) -> list[Block]:
        """What fixing each kind of error would gain, and how many errors of each kind there are."""
        labeled, missed = errors.labeled, errors.matches < 0
        bars: dict[str, float] = {}
        rows: list[list[Cell]] = []
        for kind, (name, meaning) in enumerate(zip(KINDS, MEANING, strict=True)):
            wrong = errors.kinds == kind
            fixed = [fix(predicted, image, kind) for predicted, image in zip(self.predicted, self.errors, strict=True)]
            value = object_pairs(fixed, self.true, self.labels.class_count, self.sigmas).mean_average_precision()
            bars[name] = 0.0 if value is None or average is None else 100 * (value - average)
            rows.append([name, meaning, int(wrong.sum()), float(wrong.sum() / max(labeled.sum(), 1)), bars[name]])
        count = int(labeled[missed].sum())
        rows.append(
            ["object missed", "of an object without a prediction", count, count / max(int(labeled.sum()), 1), None]
        )
        text = "How much the average precision by OKS would rise if all points of one kind alone were fixed."
        columns = ["kind", "the point is", "points", "share of labeled points", "points of OKS AP"]
        return [
            BarChart(
                "What fixing each kind of error would gain",
                bars,
                "points of OKS AP",
                text,
                dict(zip(KINDS, ADVICE, strict=True)),
            ),
            Table("Kinds of error", columns, rows, "The kinds are those of Ronchi and Perona (ICCV 2017)."),
        ]


def _point_blocks(errors: PointErrors, points: Sequence[str]) -> list[Block]:
    """Errors by point."""
    rows: list[list[Cell]] = []
    bars: dict[str, float] = {}
    for k, name in enumerate(points):
        row = _error_cells(errors, np.arange(len(points)) == k)
        rows.append([name, *row])
        if isinstance(row[3], float):
            bars[name] = 100 * row[3]
    rows.append(["all points", *_error_cells(errors, np.ones(len(points), dtype=bool))])
    columns = ["point", *_ERROR_COLUMNS]
    return [
        Table("Points", columns, rows, SIZE_TEXT),
        BarChart("Mean error by point", bars, "% of the object's size", "Points of missed objects are left out."),
    ]


_ERROR_COLUMNS = ["labeled", "mean error (px)", "median error (px)", "relative error", *(f"PCK@{s}" for s in SHARES)]


def _error_cells(errors: PointErrors, chosen: np.ndarray) -> list[Cell]:
    """Count, errors and PCK of some points: ``chosen`` is (K,) or (M, K) bool."""
    labeled, measured = errors.labeled & chosen, errors.measured & chosen
    count = int(labeled.sum())
    distances, relative = errors.distances[measured], errors.relative_distances
    known = measured & (errors.lengths > 0)[:, None]
    means: list[Cell] = [None, None, None]
    if len(distances):
        means[:2] = [float(distances.mean()), float(np.median(distances))]
    if known.any():
        means[2] = float(relative[known].mean())
    right = [
        errors.distances[measured] <= share * np.broadcast_to(errors.lengths[:, None], labeled.shape)[measured]
        for share in SHARES
    ]
    return [count, *means, *(float(part.sum() / count) if count else None for part in right)]


def _oks_histogram(errors: PointErrors) -> BarChart:
    bins = np.minimum((errors.oks * OKS_BINS).astype(np.int64), OKS_BINS - 1)
    counts = np.bincount(bins, minlength=OKS_BINS).tolist()
    bars = {f"{row / OKS_BINS:.1f} to {(row + 1) / OKS_BINS:.1f}": float(count) for row, count in enumerate(counts)}
    missed = int((errors.matches < 0).sum())
    text = f"Object keypoint similarity of each annotated object with its prediction. Missed objects ({missed}) count as 0."
    return BarChart("Objects by OKS", bars, "objects", text)


def _visibility_table(errors: PointErrors) -> Table:
    """Errors of visible and of hidden points; no rows where all points are of one kind."""
    kinds = [(name, errors.points[..., 2] == value) for name, value in (("visible", 2), ("hidden", 1))]
    several = all(chosen.any() for _, chosen in kinds)
    rows: list[list[Cell]] = [[name, *_error_cells(errors, chosen)] for name, chosen in kinds if several]
    return Table("Visible and hidden points", ["points", *_ERROR_COLUMNS], rows, SIZE_TEXT)


def _pair_table(errors: PointErrors, labels: KeypointLabels) -> Table:
    """How often left and right are exchanged."""
    rows: list[list[Cell]] = []
    for first, second in labels.flip_pairs or ():
        both = errors.measured[:, first] & errors.measured[:, second]
        exchanged = int((both & _exchanged(errors, first, second)).sum())
        count = int(both.sum())
        name = f"{labels.points[first]} and {labels.points[second]}"
        rows.append([name, count, exchanged, exchanged / count if count else None])
    text = "Objects in which both points are labeled; exchanged: both predictions are nearer to the other point."
    return Table("Left and right exchanged", ["pair", "objects", "exchanged", "share"], rows, text)


def _exchanged(errors: PointErrors, first: int, second: int) -> np.ndarray:
    """(M,) bool, whether both predictions of a pair are nearer to the other point."""
    pair = [first, second]
    given = np.linalg.norm(errors.predicted[:, pair] - errors.points[:, pair, :2], axis=-1)
    turned = np.linalg.norm(errors.predicted[:, pair] - errors.points[:, pair[::-1], :2], axis=-1)
    exchanged: np.ndarray = (turned < given).all(axis=1)
    return exchanged


def _image_losses(errors: PointErrors, images: int) -> np.ndarray:
    """(images,) see `KeypointDiagnosis`."""
    labeled = errors.labeled
    relative = np.where(labeled, np.minimum(errors.relative_distances, 1), 0).sum(axis=1)
    totals = np.bincount(errors.images, relative, minlength=images)
    counts = np.bincount(errors.images, labeled.sum(axis=1), minlength=images)
    return totals / np.maximum(counts, 1)


def _image_text(errors: PointErrors, points: Sequence[str]) -> str:
    """What is wrong in one image."""
    if not len(errors.images):
        return "no object"
    parts = []
    measured = errors.measured
    if measured.any():
        distances = np.where(measured, errors.distances, -1)
        worst = int(distances.argmax()) % len(points)
        mean = float(errors.distances[measured].mean())
        parts.append(f"mean error {mean:.1f} px, worst {points[worst]} {distances.max():.1f} px")
    missed = int((errors.matches < 0).sum())
    confused = int(np.isin(errors.kinds, (INVERSION, SWAP)).sum())
    parts += [f"{missed} of {len(errors.images)} objects missed"] if missed else []
    parts += [f"{confused} {'point' if confused == 1 else 'points'} confused with another"] if confused else []
    return "; ".join(parts)
