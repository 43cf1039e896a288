"""The tables of a run's metrics: ``metrics.csv``, a row an epoch, and ``metrics_by_class.csv``, a row a class or point.

A metric of one class or point is named ``branch/metric/CLASS`` and is never a column of ``metrics.csv``: 68 points with three
metrics each would make 204 columns. It is a row of ``metrics_by_class.csv``, with the columns `BY_CLASS`. Nothing here loads
torch.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vertebra.files import replacing

METRICS = "metrics.csv"
METRICS_BY_CLASS = "metrics_by_class.csv"
BY_CLASS = ("epoch", "metric", "class", "value")

Row = dict[str, float]


def is_of_class(name: str) -> bool:
    """Whether a metric is one of a single class or point, ``branch/metric/CLASS``, and no loss (``train/branch/term``)."""
    return name.count("/") > 1 and not name.startswith("train/")


def write_metrics(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes both tables of a run, atomically; the second one only if there are metrics of single classes.

    Args:
        folder: the run folder.
        rows: one for each epoch.
    """
    columns = [name for name in _names(rows) if not is_of_class(name)]
    _write(folder / METRICS, columns, ([row.get(name, "") for name in columns] for row in rows))
    entries = [
        [row["epoch"], *_metric_and_class(name), value]
        for row in rows
        for name, value in row.items()
        if is_of_class(name)
    ]
    if entries:
        _write(folder / METRICS_BY_CLASS, BY_CLASS, entries)


def read_history(folder: Path) -> list[Row]:
    """The rows of both tables, one for each epoch, with all metrics by their full names; empty cells are left out.

    Raises:
        OSError: there is no ``metrics.csv``.
        ValueError: a cell holds no number, or a column is missing.
    """
    rows = read_table(folder / METRICS)
    by_epoch = {row["epoch"]: row for row in rows if "epoch" in row}
    path = folder / METRICS_BY_CLASS
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            for entry in csv.DictReader(file):
                if not set(BY_CLASS) <= {name for name, cell in entry.items() if cell is not None}:
                    raise ValueError(f"{path.name} does not have the columns {', '.join(BY_CLASS)}")
                row = by_epoch.get(float(entry["epoch"]))
                if row is not None:
                    row[f"{entry['metric']}/{entry['class']}"] = float(entry["value"])
    return rows


def read_table(path: Path) -> list[Row]:
    """The rows of a table of numbers; empty cells are left out.

    Raises:
        OSError: there is no such file.
        ValueError: a cell holds no number, or a row is longer than the head.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if any(None in row for row in rows):
        raise ValueError(f"{path.name} has a row that is longer than its head")
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


def _names(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """The names of all values of any row, in the order of their first row."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _metric_and_class(name: str) -> tuple[str, str]:
    """(metric with its branch, class or point) of a metric's name; a class's name may have slashes."""
    branch, metric, class_name = name.split("/", 2)
    return f"{branch}/{metric}", class_name


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with replacing(path, synced=True) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)
