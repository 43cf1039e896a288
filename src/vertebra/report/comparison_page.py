"""The page of several models: their metrics, options, curves and classes side by side, and the images that changed most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vertebra.report.blocks import charts_html
from vertebra.report.html_page import (
    Picture,
    Section,
    bullets,
    facts,
    file_link,
    gallery,
    heading,
    paragraph,
    table,
    write_page,
)
from vertebra.report.line_charts import line_chart
from vertebra.report.run_curves import column_names, curve, training_loss
from vertebra.report.run_facts import MetricFacts, flat
from vertebra.report.run_page import ReportContent, value_text
from vertebra.tasks.diagnosis import BarChart, Cell, Diagnosis, LineChart

MAX_CHANGED = 6
BETTER, WORSE = "Images that got better", "Images that got worse"
LOSSES = "Losses can be compared only between runs with the same decoder and the same loss."


def changed_examples(
    paths: Sequence[Mapping[str, Sequence[Path]] | None],
    diagnoses: Sequence[Mapping[str, Diagnosis | None] | None],
) -> list[dict[str, dict[str, list[int]]]]:
    """For each model and branch, the positions of the images whose loss fell and rose most from the first to the last model.

    Args:
        paths: for each model, the files of each branch in the order of its diagnosis; None for a model without an evaluation.
        diagnoses: for each model, by branch.

    Returns:
        For each model the positions by branch and kind, in the same order; only images that all models have.
    """
    examples: list[dict[str, dict[str, list[int]]]] = [{} for _ in paths]
    known = [number for number, each in enumerate(paths) if each is not None]
    if len(known) < 2:
        return examples
    every = [paths[number] or {} for number in known]
    for branch in every[0]:
        found_diagnoses = [(diagnoses[number] or {}).get(branch) for number in known]
        if any(diagnosis is None for diagnosis in found_diagnoses):
            continue
        rows = [{path: row for row, path in enumerate(each.get(branch, ()))} for each in every]
        common = [path for path in rows[0] if all(path in each for each in rows)]
        losses = [
            np.array([diagnosis.image_losses[row[path]] for path in common], dtype=float)
            for diagnosis, row in zip(found_diagnoses, rows, strict=True)
            if diagnosis is not None
        ]
        changes = np.nan_to_num(losses[-1] - losses[0])
        order = np.argsort(changes, kind="stable").tolist()
        kinds = {
            BETTER: [position for position in order[:MAX_CHANGED] if changes[position] < 0],
            WORSE: [position for position in order[::-1][:MAX_CHANGED] if changes[position] > 0],
        }
        for number, row in zip(known, rows, strict=True):
            examples[number][branch] = {
                kind: [row[common[position]] for position in positions] for kind, positions in kinds.items()
            }
    return examples


def write_comparison_page(path: Path, contents: Sequence[ReportContent]) -> Path:
    """Writes the page.

    Args:
        contents: of at least two models, with different titles.
    """
    names = [content.title for content in contents]
    sections = [
        _summary(contents),
        Section("Options that differ", [_options(contents)]),
        Section("Curves", [charts_html(line_chart(chart, log=chart.y_label == "loss") for chart in _charts(contents))]),
        Section("Classes", _classes(contents)),
        Section("Kinds of error", _bars(contents)),
        Section("Images that changed most", _changed(contents)),
    ]
    intro = f"The first is the base of the differences: {names[0]}."
    return write_page(path, " and ".join(names) if len(names) == 2 else f"{len(names)} models", intro, sections)


def _summary(contents: Sequence[ReportContent]) -> Section:
    notes = [f"{content.title}: {note}" for content in contents for note in content.notes]
    lines = {content.title: _line(content) for content in contents}
    parts = [bullets(notes, "note"), facts(lines)]
    known = _known(contents)
    groups = {name: _scores(content) for name, content in _by_title(contents).items()}
    rows = []
    for metric in dict.fromkeys(name for scores in groups.values() for name in scores if name.count("/") == 1):
        if metric in known:
            values = [scores.get(metric) for scores in groups.values()]
            rows.append(
                (
                    metric,
                    *values,
                    *_differences(values),
                    _winner(values, list(groups), known[metric]),
                    known[metric].meaning,
                )
            )
    columns = ["metric", *groups, *_difference_names(list(groups)), "best", "meaning"]
    return Section("Summary", [*parts, table(columns, rows, label="metrics", max_rows=60)])


def _by_title(contents: Sequence[ReportContent]) -> dict[str, ReportContent]:
    return {content.title: content for content in contents}


def _line(content: ReportContent) -> str:
    measured, run = content.measured, content.facts
    where = (
        f"metrics on {measured.what}, {measured.images:,} images"
        if measured is not None
        else "metrics of its training on val"
    )
    return f"{content.source}; {where}" + (f"; {run.kept_text}" if run is not None else "")


def _scores(content: ReportContent) -> Mapping[str, float]:
    if content.measured is not None and content.measured.scores:
        return content.measured.scores
    return content.facts.kept_scores if content.facts is not None else {}


def _known(contents: Sequence[ReportContent]) -> dict[str, MetricFacts]:
    return {name: fact for content in contents for name, fact in content.metrics.items()}


def _difference_names(names: Sequence[str]) -> list[str]:
    return ["difference"] if len(names) == 2 else [f"difference of {name}" for name in names[1:]]


def _differences(values: Sequence[float | None]) -> list[float | None]:
    """The differences from the first value."""
    first = values[0]
    return [None if first is None or value is None else value - first for value in values[1:]]


def _winner(values: Sequence[float | None], names: Sequence[str], fact: MetricFacts) -> str:
    known = [
        (value, name) for value, name in zip(values, names, strict=True) if value is not None and math.isfinite(value)
    ]
    if len(known) < 2:
        return ""
    top = min(known)[0] if fact.lower_is_better else max(known)[0]
    best = [name for value, name in known if value == top]
    return best[0] if len(best) == 1 else "equal"


def _options(contents: Sequence[ReportContent]) -> str:
    """The options and choices whose values differ; those of runs only."""
    flats = []
    for content in contents:
        run = content.facts
        values = (
            {} if run is None else {**flat(run.config), **{f"chosen.{k}": v for k, v in flat(run.resolved).items()}}
        )
        flats.append({name: value_text(value) for name, value in values.items()})
    if sum(map(bool, flats)) < 2:
        return paragraph("Only runs have options; fewer than two of these are runs.")
    names = list(dict.fromkeys(name for each in flats for name in each))
    rows = [
        (name, *(each.get(name) for each in flats))
        for name in names
        if len({each.get(name) for each in flats if each}) > 1
    ]
    if not rows:
        return paragraph("All options and choices are the same.")
    return table(["option", *(content.title for content in contents)], rows, label="options that differ", max_rows=40)


def _charts(contents: Sequence[ReportContent]) -> list[LineChart]:
    """The losses and metrics of whole branches, each as a chart with a curve of each run."""
    runs = {content.title: content.facts for content in contents if content.facts is not None}
    known = _known(contents)
    columns = list(dict.fromkeys(name for run in runs.values() for name in column_names(run.rows)))
    charts = []
    for branch in dict.fromkeys(name for content in contents for name in content.tasks):
        training = [training_loss(run.rows, branch, title) for title, run in runs.items()]
        validation = [curve(run.rows, f"{branch}/loss", title, run.kept_epoch) for title, run in runs.items()]
        charts.append(LineChart(f"Training loss of {branch}", "epoch", "loss", training, LOSSES))
        charts.append(LineChart(f"Validation loss of {branch}", "epoch", "loss", validation, LOSSES))
        for name in columns:
            if name.startswith(f"{branch}/") and name.count("/") == 1 and not name.endswith("/loss"):
                curves = [curve(run.rows, name, title, run.kept_epoch) for title, run in runs.items()]
                charts.append(LineChart(name, "epoch", known.get(name, MetricFacts()).direction, curves))
    return charts


def _classes(contents: Sequence[ReportContent]) -> list[str]:
    """The metrics of single classes, with their differences."""
    groups = {name: _scores(content) for name, content in _by_title(contents).items()}
    rows: dict[str, list[tuple[Cell, ...]]] = {}
    for metric in dict.fromkeys(name for scores in groups.values() for name in scores if name.count("/") > 1):
        branch, name, class_name = metric.split("/", 2)
        values = [scores.get(metric) for scores in groups.values()]
        rows.setdefault(f"{branch}/{name}", []).append((class_name, *values, *_differences(values)))
    columns = ["name", *groups, *_difference_names(list(groups))]
    meanings = {"/".join(name.split("/")[:2]): fact.meaning for name, fact in _known(contents).items()}
    return [
        heading(name) + paragraph(meanings.get(name, "")) + table(columns, lines, label=name)
        for name, lines in rows.items()
    ]


def _bars(contents: Sequence[ReportContent]) -> list[str]:
    """The bar charts that all diagnoses of a branch have, as tables."""
    groups: dict[tuple[str, str, str], dict[str, Mapping[str, float]]] = {}
    for content in contents:
        for branch, one in content.measured.branches.items() if content.measured is not None else ():
            for block in one.diagnosis.blocks if one.diagnosis is not None else ():
                if isinstance(block, BarChart):
                    groups.setdefault((branch, block.title, block.unit), {})[content.title] = block.bars
    parts = []
    for (branch, title, unit), bars in groups.items():
        if len(bars) < 2:
            continue
        names = list(dict.fromkeys(name for each in bars.values() for name in each))
        rows = [
            (name, *(values := [each.get(name) for each in bars.values()]), *_differences(values)) for name in names
        ]
        columns = [unit or "name", *bars, *_difference_names(list(bars))]
        parts.append(heading(f"{title} ({branch})") + table(columns, rows, label=title))
    return parts


def _changed(contents: Sequence[ReportContent]) -> list[str]:
    """The ground truth and all predictions of the images whose loss changed most."""
    evaluated = {content.title: content.measured for content in contents if content.measured is not None}
    if len(evaluated) < 2:
        return [paragraph("Fewer than two of these could be evaluated.")]
    titles = list(evaluated)
    parts = [
        paragraph(f"By the loss of each image, from {titles[0]} to {titles[-1]}; only images that all of them have.")
    ]
    first = evaluated[titles[0]]
    for branch, one in first.branches.items():
        for kind, positions in one.examples.items():
            pictures = []
            for number in range(len(positions)):
                sides: dict[str, Image.Image] = {}
                losses = []
                for title, measured in evaluated.items():
                    other = measured.branches[branch]
                    position = other.examples[kind][number]
                    if position in other.pictures and other.diagnosis is not None:
                        ground_truth, prediction = other.pictures[position]
                        sides.setdefault("ground truth", ground_truth)
                        sides[title] = prediction
                        losses.append(f"{float(other.diagnosis.image_losses[position]):.3g}")
                if sides:
                    path = one.paths[positions[number]]
                    pictures.append(Picture(sides, path.name, file_link(path), f"loss {' → '.join(losses)}"))
            if pictures:
                parts.append(heading(f"{kind} ({branch})") + gallery(pictures))
    return parts if len(parts) > 1 else [paragraph("No image's loss changed, or the losses of images are unknown.")]
