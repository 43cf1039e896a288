"""The HTML report of a run: curves, metrics, model summary and example predictions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vertebra.errors import ImageRangeWarning
from vertebra.inference.predictor import Predictor
from vertebra.model import VisionModel
from vertebra.model_info import model_info
from vertebra.report.html_page import Picture, Section, line_chart_svg, write_page
from vertebra.report.model_summary import model_summary_svg, summarize_model
from vertebra.training.metrics_table import is_of_class, read_history
from vertebra.training.selection import BestWeights, directions
from vertebra.training.state_files import BEST

COST = ("seconds/", "memory/")  # columns of what an epoch costs


def write_report(folder: Path, model: VisionModel, images: list[Path], kept: BestWeights, pictures: int = 12) -> Path:
    """Writes ``report.html``.

    Args:
        folder: the run folder, with its table of metrics.
        model: has the best weights.
        images: predictions are shown on some of them, evenly spaced; unreadable ones are left out.
        kept: the best weights' epoch and scores.
    """
    rows = read_history(folder)
    sections = [
        Section("Metrics by epoch", svg=line_chart_svg(_curves(rows, metrics=True), "metrics by epoch")),
        Section("Losses by epoch", svg=line_chart_svg(_curves(rows, metrics=False), "losses by epoch")),
        Section("Evaluations", _explanation(kept), table=_evaluations(rows, kept, directions(model_info(model)))),
        Section("What the model is made of", svg=model_summary_svg(summarize_model(model))),
        Section(
            f"Predictions on validation images (weights of epoch {kept.epoch})",
            pictures=prediction_pictures(model, images, pictures),
        ),
    ]
    return write_page(
        folder / "report.html", f"Run {folder.name}", "Everything else of this run is in its folder.", sections
    )


def _explanation(kept: BestWeights) -> str:
    where = f"{BEST} holds the weights of epoch {kept.epoch}"
    if kept.best is None:
        return f"{where}, the newest ones: no evaluation had a score."
    direction = "lowest" if kept.best.lower_is_better else "highest"
    return f"{where}, which had the {direction} {kept.best.name}."


def _curves(rows: list[dict[str, float]], metrics: bool) -> dict[str, list[tuple[float, float]]]:
    names = dict.fromkeys(name for row in rows for name in row if "/" in name and not name.startswith(COST))
    losses = [name for name in names if name.startswith("train/") or name.endswith("/loss")]
    chosen = [name for name in names if name not in losses and not is_of_class(name)] if metrics else losses
    return {
        name: [(row["epoch"], row[name]) for row in rows if name in row and math.isfinite(row[name])] for name in chosen
    }


def _evaluations(rows: list[dict[str, float]], kept: BestWeights, lower: Mapping[str, bool]) -> list[list[str]]:
    """All metrics of the best weights, and of the last evaluation if that is another one."""
    evaluated = [row for row in rows if any(name in row for name in lower)]
    last = evaluated[-1] if evaluated else {}
    columns = {f"kept weights (epoch {kept.epoch})": kept.scores}
    if last.get("epoch", kept.epoch) != kept.epoch:
        columns[f"last evaluation (epoch {last['epoch']:.0f})"] = last
    names = [name for name in dict.fromkeys([*kept.scores, *last]) if name in lower]
    table = [["metric", *columns]]
    for name in names:
        shown = [f"{scores[name]:.4f}" if name in scores else "" for scores in columns.values()]
        table.append([name + (" (lower is better)" if lower[name] else ""), *shown])
    return table


def prediction_pictures(model: VisionModel, images: list[Path], count: int) -> list[Picture]:
    """Pictures of a model's predictions on some of the images, one for each branch."""
    images = [image for image in images if image.is_file()]
    if not images:
        return []
    chosen = [images[row] for row in np.linspace(0, len(images) - 1, min(count, len(images)), dtype=int)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageRangeWarning)  # the run has told it
        results = Predictor(model, batch_size=4, skip_unreadable=True).predict(chosen)
    return [
        Picture(prediction.draw(), f"{branch}: {result.path.name if result.path else ''}")
        for result in results
        for branch, prediction in result.items()
    ]
