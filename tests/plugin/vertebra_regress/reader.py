"""A reader of tables ``values.csv``: an image file and its numbers a row."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.paths import path_column
from vertebra.data.index import Index
from vertebra.data.splits import SHARES, divide
from vertebra_regress.types import RegressAnnotation, RegressLabels


@dataclass(frozen=True, eq=False)
class ValueColumn:
    """Attributes:
    values: (n, K) float32.
    labeled: (n,) bool.
    """

    values: np.ndarray
    labeled: np.ndarray

    def get(self, row: int, size: tuple[int, int]) -> RegressAnnotation:
        return RegressAnnotation(self.values[row])

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        return {}

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        return ""

    def take(self, rows: np.ndarray) -> ValueColumn:
        return ValueColumn(self.values[rows], self.labeled[rows])


class ValueTable:
    """Images with a table of numbers."""

    name = "value_table"
    tasks = ("regress",)
    summary = "a table of numbers (values.csv)"

    def looks_like(self, path: Path) -> bool:
        return (path / "values.csv").is_file()

    def read(self, path: Path, task: str, split: str, options: ReadOptions) -> Index:
        with (path / "values.csv").open() as file:
            rows = list(csv.DictReader(file))
        names = options.classes or tuple(name for name in rows[0] if name != "image")
        values = np.array([[row[name] for name in names] for row in rows], dtype=np.float32)
        column = ValueColumn(values, np.ones(len(rows), dtype=bool))
        images = path_column([row["image"] for row in rows])
        index = Index(path, images, {task: column}, {task: RegressLabels(tuple(names))})
        return index.take(divide(len(rows), SHARES, split, options.seed))


VALUE_TABLE = ValueTable()
