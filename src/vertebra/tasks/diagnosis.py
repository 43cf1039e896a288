"""What a report shows of a model beside its metrics: charts and tables, the loss of each image, and labels that may be wrong.

A task fills these types; a page renders them without knowing the task. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

Cell = str | float | int | None


@dataclass(frozen=True)
class Curve:
    """A curve of a chart.

    Attributes:
        name: for the legend, such as a class.
        x, y: float arrays of one length.
        mark: a point to be marked, such as the best threshold.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    mark: tuple[float, float] | None = None


@dataclass(frozen=True)
class LineChart:
    """Curves over common axes.

    Attributes:
        text: what the chart shows and how it is read, in a sentence or two.
        diagonal: whether the line y = x is drawn too, as in a reliability diagram.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    text: str = ""
    diagonal: bool = False


@dataclass(frozen=True)
class BarChart:
    """One bar a name.

    Attributes:
        bars: the values by name, in their order.
        unit: of the values, such as "points of mAP".
        advice: what to try where a bar is the longest, in a sentence, by its name.
    """

    title: str
    bars: Mapping[str, float]
    unit: str = ""
    text: str = ""
    advice: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Rows of cells; None is an empty cell."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text: str = ""


@dataclass(frozen=True)
class Matrix:
    """Counts for each pair of names, such as a confusion matrix.

    Attributes:
        row_label, column_label: what the rows and the columns are, such as "ground truth" and "prediction".
        rows, columns: their names.
        counts: (rows, columns).
        text: what the matrix shows and how it is read.
    """

    title: str
    row_label: str
    column_label: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: np.ndarray
    text: str = ""


Block = LineChart | BarChart | Table | Matrix


@dataclass(frozen=True)
class LikelyWrongLabel:
    """A label that the model contradicts with confidence.

    Attributes:
        image: position of the image among all images that were added.
        confidence: 0 to 1, the larger the likelier the label is wrong.
        text: what seems wrong, such as "labeled cat, predicted dog (0.98)".
        box: the object (x1, y1, x2, y2), in pixels of the image; None for the whole image.
    """

    image: int
    confidence: float
    text: str
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All that a task can show of a model on labeled images.

    Attributes:
        blocks: charts and tables, in the order of a report.
        image_losses: float (images), the larger the worse the prediction; in the order in which the images were added.
        image_texts: what is wrong in each image, in a few words ("2 missed, 1 of another class").
        thresholds: for each class, the score from which predictions have the best F1; empty for tasks without scores.
        likely_wrong: labels that may be wrong, the likeliest first.
    """

    blocks: Sequence[Block]
    image_losses: np.ndarray
    image_texts: Sequence[str]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    likely_wrong: Sequence[LikelyWrongLabel] = ()


class Diagnoser(Protocol):
    """Compares predictions with annotations, image by image."""

    def __init__(self, labels: Any) -> None:
        """For the labels of a branch."""

    def update(self, predictions: Sequence[Any], ground_truths: Sequence[Any]) -> None:
        """Adds the predictions of some images, with all scores, and their annotations, in the same order."""

    def compute(self) -> Diagnosis:
        """The diagnosis of all images added so far."""
