"""The page of one run or model: what decides, first; then curves, branches, data, time, the model and its options."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from vertebra.report.blocks import blocks_html, charts_html, table_html
from vertebra.report.branch_sections import branch_sections, per_class_tables
from vertebra.report.hints import hints
from vertebra.report.html_page import (
    Picture,
    Section,
    bullets,
    details,
    drawing,
    facts,
    gallery,
    heading,
    number_text,
    paragraph,
    table,
    write_page,
)
from vertebra.report.line_charts import line_chart
from vertebra.report.measured import Measured
from vertebra.report.model_summary import ModelSummary, model_summary_svg, model_summary_text
from vertebra.report.run_curves import class_charts, loss_charts, lr_chart, metric_charts, time_charts
from vertebra.report.run_facts import MetricFacts, RunFacts, flat
from vertebra.report.split_facts import SplitFacts
from vertebra.tasks.diagnosis import Cell, Table


@dataclass(frozen=True)
class ReportContent:
    """All that a page shows.

    Attributes:
        title: of the page.
        source: what is reported on: the path of a run, model file or exported file.
        facts: of the run; None for a model without one.
        measured: an evaluation; None if there are no data for one.
        splits: of the data.
        model: its summary; None for an exported file.
        seen: training images as the network saw them.
        metrics: facts about the metrics, by ``branch/metric``.
        tasks: the task of each branch.
        notes: what is missing in the page, and why.
        description: of an exported file, as text.
    """

    title: str
    source: Path
    facts: RunFacts | None
    measured: Measured | None
    splits: Sequence[SplitFacts]
    model: ModelSummary | None
    seen: Sequence[Picture]
    metrics: Mapping[str, MetricFacts]
    tasks: Mapping[str, str]
    notes: Sequence[str] = ()
    description: str = ""


def write_run_page(path: Path, content: ReportContent) -> Path:
    """Writes the page."""
    run, measured = content.facts, content.measured
    sections = [_summary(content)]
    if run is not None:
        sections.append(_curves(run))
    if measured is not None:
        sections += branch_sections(measured, measured.scores or (run.kept_scores if run is not None else {}))
    elif run is not None:
        sections.append(Section("Classes", per_class_tables(run.kept_scores, content.tasks)))
    sections.append(_data(content))
    if run is not None:
        times = time_charts(run.rows)
        sections.append(Section("Where the time went", [blocks_html(times)] if times else []))
    sections.append(_model(content))
    if run is not None:
        sections.append(_options(run))
    return write_page(path, content.title, f"{content.source}", sections)


def _summary(content: ReportContent) -> Section:
    run, measured = content.facts, content.measured
    images = ", ".join(f"{split.images:,} in {split.name}" for split in content.splits if not split.problem)
    lines = {
        "branches": ", ".join(f"{name} ({task})" for name, task in content.tasks.items()),
        "images": images,
        "kept weights": "" if run is None else run.kept_text,
        "evaluated on": "" if measured is None else _evaluated(measured),
    }
    advice = hints(run, content.splits, measured, content.metrics)
    return Section(
        "Summary",
        [
            *(paragraph(note, "note") for note in content.notes),
            facts(lines),
            _metric_table(content),
            heading("What to do next") + bullets(advice, "hints") if advice else "",
        ],
    )


def _evaluated(measured: Measured) -> str:
    if measured.images >= measured.available:
        return f"{measured.what}: {measured.images:,} images"
    return f"{measured.what}: {measured.images:,} of {measured.available:,} images, evenly spread"


def _metric_table(content: ReportContent) -> str:
    """The metrics of whole branches with their meaning, in each evaluation."""
    run, measured = content.facts, content.measured
    columns: dict[str, Mapping[str, float]] = {}
    if measured is not None and measured.scores:
        columns[measured.what] = measured.scores
    if run is not None and run.kept_scores and "val" not in columns:
        columns[f"val, kept weights (epoch {run.kept_epoch})"] = run.kept_scores
        last = _last_evaluation(run)
        if last and last.get("epoch") != run.kept_epoch:
            columns[f"val, last evaluation (epoch {last['epoch']:.0f})"] = last
    names = [name for scores in columns.values() for name in scores if name in content.metrics and name.count("/") == 1]
    rows = [
        (
            name + (" (selected the weights)" if run is not None and name == run.monitor else ""),
            *(scores.get(name) for scores in columns.values()),
            "lower" if content.metrics[name].lower_is_better else "higher",
            content.metrics[name].meaning,
        )
        for name in dict.fromkeys(names)
    ]
    return table(["metric", *columns, "better is", "meaning"], rows, label="metrics", max_rows=60)


def _last_evaluation(run: RunFacts) -> Mapping[str, float]:
    rows = [row for row in run.rows if any(name in run.metrics for name in row)]
    return rows[-1] if rows else {}


def _curves(run: RunFacts) -> Section:
    losses = [line_chart(chart, log=True) for chart in loss_charts(run.rows, run.tasks)]
    metrics = [
        line_chart(chart) for chart in metric_charts(run.rows, run.tasks, run.metrics, (run.monitor, run.kept_epoch))
    ]
    classes = [line_chart(chart) for chart in class_charts(run.rows, run.tasks, run.metrics)]
    return Section(
        "Curves",
        [
            charts_html([*losses, *metrics]),
            details("Metrics of single classes by epoch", charts_html(classes)),
            details("Learning rate", charts_html([line_chart(lr_chart(run.rows))])),
        ],
    )


def _data(content: ReportContent) -> Section:
    opened = [split for split in content.splits if not split.problem]
    rows = [(split.name, split.images, ", ".join(split.paths)) for split in opened]
    parts = [table(["split", "images", "data set"], rows, label="splits")]
    parts += [table_html(one) for one in _class_counts(opened)]
    notes = [f"{split.name}: {note}" for split in opened for note in split.notes]
    notes += [f"{split.name}: {split.problem}" for split in content.splits if split.problem]
    notes += list(content.measured.notes) if content.measured is not None else []
    if notes:
        parts.append(heading("Notes of reading") + bullets(list(dict.fromkeys(notes))))
    if content.seen:
        text = (
            "Images of the first step of training, resized and augmented, with their annotations: what the network saw."
        )
        parts.append(heading("What the network saw") + paragraph(text) + gallery(content.seen))
    return Section("Data", parts if any(parts) else [])


def _class_counts(splits: Sequence[SplitFacts]) -> list[Table]:
    """For each branch, the number of images with each class in each split."""
    branches = dict.fromkeys(name for split in splits for name in split.class_images)
    tables = []
    for branch in branches:
        counts = {split.name: split.class_images[branch] for split in splits if branch in split.class_images}
        names = list(dict.fromkeys(name for each in counts.values() for name in each))
        rows: list[tuple[Cell, ...]] = [(name, *(each.get(name, 0) for each in counts.values())) for name in names]
        tables.append(Table(f"Images with each class of {branch}", ["class", *counts], rows))
    return tables


def _model(content: ReportContent) -> Section:
    if content.model is None:
        text = f"<pre>{escape(content.description)}</pre>" if content.description else ""
        return Section("Model", [text])
    text = f"<pre>{escape(model_summary_text(content.model))}</pre>"
    return Section("Model", [drawing(model_summary_svg(content.model)), details("As text", text)])


def _options(run: RunFacts) -> Section:
    reasons = {choice["option"]: choice["reason"] for choice in run.choices}
    values = {choice["option"]: choice["value"] for choice in run.choices} | flat(run.resolved)
    rows = [(name, value_text(value), *([reasons.get(name)] if reasons else [])) for name, value in values.items()]
    starts = [
        (start.get("date", ""), start.get("command", ""), "; ".join(start.get("changes", []))) for start in run.starts
    ]
    versions = run.starts[-1].get("versions", {}) if run.starts else {}
    config = json.dumps(run.config, indent=2, ensure_ascii=False, default=str)
    return Section(
        "Options",
        [
            table(["option", "value", *(["chosen because"] if reasons else [])], rows, label="options", max_rows=40),
            heading("Starts") + table(["date (UTC)", "command", "changes"], starts, label="starts") if starts else "",
            paragraph("Versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()))
            if versions
            else "",
            details("The whole config", f"<pre>{escape(config)}</pre>"),
        ],
    )


def value_text(value: Any) -> str:
    """A value of an option as text."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}" if abs(value) < 1 else number_text(value)
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
