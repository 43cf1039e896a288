"""The page of a run: its curves, its metrics, its anatomy, and pictures of what the model says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vertebra.explain.anatomy import anatomy_svg, model_anatomy
from vertebra.explain.page import Picture, Section, line_chart_svg, write_page
from vertebra.inference.predictor import Predictor
from vertebra.model import VisionModel
from vertebra.training.folder import METRICS


def write_report(folder: Path, model: VisionModel, images: list[Path], pictures: int = 12) -> Path:
    """Writes ``report.html``.

    Args:
        folder: the run, with its table of metrics.
        model: its best weights.
        images: to show predictions on; some of them are taken, evenly.
    """
    rows = read_table(folder / METRICS)
    sections = [
        Section("Metrics by epoch", svg=line_chart_svg(_curves(rows, metrics=True), "metrics by epoch")),
        Section("Losses by epoch", svg=line_chart_svg(_curves(rows, metrics=False), "losses by epoch")),
        Section("Last evaluation", table=_last(rows)),
        Section("What the model is made of", svg=anatomy_svg(model_anatomy(model))),
        Section("What it says of validation images", pictures=predicted(model, images, pictures)),
    ]
    return write_page(
        folder / "report.html", f"Run {folder.name}", "Everything else of this run is in its folder.", sections
    )


def read_table(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics table; empty cells are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _curves(rows: list[dict[str, float]], metrics: bool) -> dict[str, list[tuple[float, float]]]:
    names = dict.fromkeys(name for row in rows for name in row if "/" in name)
    losses = [name for name in names if name.startswith("train/") or name.endswith("/loss")]
    chosen = [name for name in names if name not in losses and name.count("/") == 1] if metrics else losses
    return {name: [(row["epoch"], row[name]) for row in rows if name in row] for name in chosen}


def _last(rows: list[dict[str, float]]) -> list[list[str]]:
    last = next((row for row in reversed(rows) if any(name.endswith("/loss") for name in row)), {})
    shown = [(name, value) for name, value in last.items() if "/" in name and not name.startswith("train/")]
    return [["metric", "value"], *([name, f"{value:.4f}"] for name, value in shown)]


def predicted(model: VisionModel, images: list[Path], most: int) -> list[Picture]:
    """Pictures of a model's predictions on some of the images, one for each branch."""
    chosen = [images[place] for place in np.linspace(0, len(images) - 1, min(most, len(images)), dtype=int)]
    predictor = Predictor(model, batch_size=4, skip_unreadable=True)
    return [
        Picture(prediction.draw(), f"{branch}: {result.path.name if result.path else ''}")
        for result in predictor.predict(chosen)
        for branch, prediction in result.items()
    ]
