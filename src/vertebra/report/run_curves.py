"""The curves of a run: charts from the rows of its table of metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vertebra.report.run_facts import MetricFacts
from vertebra.tasks.diagnosis import BarChart, Curve, LineChart

Rows = Sequence[Mapping[str, float]]
SECONDS, MEMORY = "seconds/", "memory/"
TRAIN = "train/"
MAX_TERMS = 6  # terms of a loss that are drawn beside their sums


def column_names(rows: Rows) -> list[str]:
    """All columns that occur in the rows."""
    return list(dict.fromkeys(name for row in rows for name in row))


def curve(rows: Rows, column: str, name: str = "", mark: float | None = None) -> Curve:
    """A column by epoch, without rows where it is missing or not finite.

    Args:
        name: for the legend; by default the column's.
        mark: an epoch to be marked.
    """
    points = [(row["epoch"], row[column]) for row in rows if column in row and math.isfinite(row[column])]
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    marked = dict(points).get(mark) if mark is not None else None
    return Curve(name or column, x, y, None if marked is None or mark is None else (mark, marked))


def training_loss(rows: Rows, branch: str, name: str) -> Curve:
    """The training loss of a branch: the sum of its terms.

    Args:
        name: for the legend.
    """
    terms = [column for column in column_names(rows) if column.startswith(f"{TRAIN}{branch}/")]
    sums = [{"epoch": row["epoch"], "sum": sum(row[term] for term in terms)} for row in rows if {*terms} <= {*row}]
    return curve(sums if terms else [], "sum", name)


def loss_charts(rows: Rows, branches: Iterable[str]) -> list[LineChart]:
    """One chart for each branch: the losses of training and validation, and the terms of the former if there are several."""
    charts = []
    names = column_names(rows)
    for branch in branches:
        terms = [name for name in names if name.startswith(f"{TRAIN}{branch}/")]
        curves = [training_loss(rows, branch, "training")] if terms else []
        curves.append(curve(rows, f"{branch}/loss", "validation"))
        if 1 < len(terms) <= MAX_TERMS:
            curves += [curve(rows, term, f"training, {term.rpartition('/')[2]}") for term in terms]
        charts.append(LineChart(f"Loss of {branch}", "epoch", "loss", curves))
    return [chart for chart in charts if any(len(each.x) for each in chart.curves)]


def metric_charts(
    rows: Rows, branches: Iterable[str], facts: Mapping[str, MetricFacts], kept: tuple[str, int | None]
) -> list[LineChart]:
    """For each branch a chart of the metrics between 0 and 1, and one for each other metric.

    Args:
        facts: about the metrics.
        kept: the metric that selected the kept weights, and their epoch, which is marked.
    """
    charts = []
    for branch in branches:
        names = [
            name
            for name in column_names(rows)
            if name.startswith(f"{branch}/") and name.count("/") == 1 and not name.endswith("/loss")
        ]
        marks = {name: kept[1] if name == kept[0] else None for name in names}
        curves = {name: curve(rows, name, name.partition("/")[2], marks[name]) for name in names}
        shares = [
            name for name in names if _is_share(curves[name]) and not facts.get(name, MetricFacts()).lower_is_better
        ]
        families = [(f"Metrics of {branch}", "higher is better", shares)] if shares else []
        families += [
            (f"{curves[name].name} of {branch}", facts.get(name, MetricFacts()).direction, [name])
            for name in names
            if name not in shares
        ]
        charts += [
            LineChart(title, "epoch", direction, [curves[name] for name in family])
            for title, direction, family in families
        ]
    return [chart for chart in charts if any(len(each.x) for each in chart.curves)]


def class_charts(rows: Rows, branches: Iterable[str], facts: Mapping[str, MetricFacts]) -> list[LineChart]:
    """A chart of each metric of single classes or points, titled with its name, ``branch/metric``.

    Args:
        facts: about the metrics, by ``branch/metric/CLASS``.
    """
    curves: dict[str, list[Curve]] = {}
    known: dict[str, MetricFacts] = {}
    for name in column_names(rows):
        branch, _, rest = name.partition("/")
        metric, separator, class_name = rest.partition("/")
        if branch in branches and separator:
            curves.setdefault(f"{branch}/{metric}", []).append(curve(rows, name, class_name))
            known[f"{branch}/{metric}"] = facts.get(name, MetricFacts())
    return [
        LineChart(title, "epoch", known[title].direction, each, known[title].meaning) for title, each in curves.items()
    ]


def lr_chart(rows: Rows) -> LineChart:
    """The learning rate at the end of each epoch."""
    return LineChart("Learning rate", "epoch", "learning rate", [curve(rows, "lr", "learning rate")])


def time_charts(rows: Rows) -> list[LineChart | BarChart]:
    """The seconds of each part of an epoch, and their sums; empty for a run that did not measure them."""
    names = [name for name in column_names(rows) if name.startswith(SECONDS)]
    if not names:
        return []
    totals = {name: sum(row[name] for row in rows if math.isfinite(row.get(name, math.nan))) for name in names}
    whole = sum(totals.values()) or 1.0
    shares = {f"{name.removeprefix(SECONDS)} ({value / whole:.0%})": value for name, value in totals.items()}
    charts: list[LineChart | BarChart] = [
        BarChart("Time of all epochs", shares, "seconds"),
        LineChart("Time of each epoch", "epoch", "seconds", _curves_of(rows, SECONDS)),
        LineChart("Speed", "epoch", "images per second", [curve(rows, "images_per_second", "training")]),
        LineChart("Peak memory", "epoch", "GB", _curves_of(rows, MEMORY)),
    ]
    return [chart for chart in charts if isinstance(chart, BarChart) or any(len(each.x) for each in chart.curves)]


def _curves_of(rows: Rows, prefix: str) -> list[Curve]:
    """The columns of a kind, named by the rest of their names."""
    names = [name for name in column_names(rows) if name.startswith(prefix)]
    return [curve(rows, name, name.removeprefix(prefix).removesuffix("_gb")) for name in names]


def _is_share(values: Curve) -> bool:
    return bool(len(values.y)) and float(values.y.min()) >= 0 and float(values.y.max()) <= 1
