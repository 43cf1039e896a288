"""The tables of a run's metrics: a few columns, and the metrics of single classes and points in rows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from vertebra.cli.evaluate import score_lines
from vertebra.training.metrics_table import is_of_class, read_history, write_metrics

POINTS = [f"point_{number}" for number in range(68)]


def faces(epoch: int) -> dict[str, float]:
    """A row of a model of 68 points."""
    by_point = {f"face/{name}/{point}": epoch + 0.25 for name in ("pck", "nme", "error") for point in POINTS}
    return {
        "epoch": epoch,
        "step": 3 * epoch,
        "train/face/heatmap": 0.5,
        "face/pck": 0.75,
        **by_point,
        "seconds/data": 1.5,
    }


def test_68_points_are_rows_and_not_columns(tmp_path: Path) -> None:
    rows = [faces(1), faces(2)]
    write_metrics(tmp_path, rows)
    with (tmp_path / "metrics.csv").open() as file:
        assert next(csv.reader(file)) == ["epoch", "step", "train/face/heatmap", "face/pck", "seconds/data"]
    with (tmp_path / "metrics_by_class.csv").open() as file:
        entries = list(csv.DictReader(file))
    assert len(entries) == 2 * 3 * 68
    assert entries[68] == {"epoch": "1", "metric": "face/nme", "class": "point_0", "value": "1.25"}
    assert read_history(tmp_path) == rows


def test_names_of_classes_with_slashes_and_commas_and_epochs_without_them(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "lr": 0.1}, {"epoch": 2, "lr": 0.2, "a/map": 0.5, 'a/map/and/or, "x"': 0.25}]
    write_metrics(tmp_path, rows)
    assert read_history(tmp_path) == rows


def test_a_run_without_classes_has_one_table(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"epoch": 1, "train/animal/cross_entropy": 0.1, "animal/accuracy": 0.5}])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    assert not is_of_class("train/animal/cross_entropy") and is_of_class("animal/f1/dog")


@pytest.mark.parametrize(
    ("metrics", "by_class"),
    [
        ("epoch,a/map\n1,high\n", None),
        ("epoch,a/map\n1,0.5,0.5\n", None),
        ("epoch,a/map\n1,0.5\n", "epoch,metric,class\n1,a/map,dog\n"),
        ("epoch,a/map\n1,0.5\n", "epoch,metric,class,value\n1,a/map\n"),
    ],
)
def test_damaged_tables_are_refused(metrics: str, by_class: str | None, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(metrics)
    if by_class is not None:
        (tmp_path / "metrics_by_class.csv").write_text(by_class)
    with pytest.raises(ValueError):
        read_history(tmp_path)


def test_eval_prints_a_row_for_each_point() -> None:
    lines = score_lines(
        {name: value for name, value in faces(1).items() if name.startswith("face/")} | {"face/loss": 2.0}
    )
    assert lines[:4] == ["face/pck   0.7500", "face/loss  2.0000", "", "face           pck       nme     error"]
    assert lines[4] == "point_0     1.2500    1.2500    1.2500" and len(lines) == 4 + 68
