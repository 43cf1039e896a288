"""The sections of each branch: its diagnosis with its classes, its worst, typical and best images, and labels that may be wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from vertebra.report.blocks import blocks_html, table_html
from vertebra.report.html_page import Picture, Section, details, file_link, gallery, heading, paragraph, table
from vertebra.report.measured import Measured, MeasuredBranch
from vertebra.tasks.diagnosis import Diagnosis, Table

THRESHOLD = "best threshold"  # the column of a table that has them already
SHOWN_WRONG = 12  # pictures of labels that may be wrong; further ones are shown on request
TITLES = {"worst": "Worst images", "typical": "Typical images", "best": "Best images"}


def branch_sections(measured: Measured, scores: Mapping[str, float]) -> list[Section]:
    """The sections of each branch.

    Args:
        measured: the evaluation.
        scores: all metrics.
    """
    sections = []
    for name, branch in measured.branches.items():
        parts = per_class_tables(scores, [name])
        if branch.diagnosis is not None:
            classes = details("Metrics of each class", "".join(parts))
            parts = [blocks_html(branch.diagnosis.blocks), *_thresholds(branch.diagnosis), classes]
        sections += [
            Section(f"Branch {name} on {measured.what}", parts),
            Section(f"Images of {name}", example_pictures(branch)),
            Section(f"Likely wrong labels of {name}", _wrong_labels(branch)),
        ]
    return sections


def per_class_tables(scores: Mapping[str, float], branches: Iterable[str]) -> list[str]:
    """For each branch a table of the metrics of single classes or points, by their names."""
    parts = []
    for branch in branches:
        values: dict[str, dict[str, float]] = {}
        for name, value in scores.items():
            metric, separator, class_name = name.removeprefix(f"{branch}/").partition("/")
            if name.startswith(f"{branch}/") and separator and math.isfinite(value):
                values.setdefault(class_name, {})[metric] = value
        columns = list(dict.fromkeys(metric for each in values.values() for metric in each))
        rows = [(name, *(each.get(metric) for metric in columns)) for name, each in values.items()]
        parts.append(table_html(Table(f"Metrics by class of {branch}", ["name", *columns], rows)))
    return [part for part in parts if part]


def _thresholds(diagnosis: Diagnosis) -> list[str]:
    listed = any(isinstance(block, Table) and THRESHOLD in block.columns for block in diagnosis.blocks)
    if not diagnosis.thresholds or listed:
        return []
    text = "The score from which the predictions of each class have the best F1 on these images."
    return [table_html(Table("Best thresholds", ["class", "score"], list(diagnosis.thresholds.items()), text))]


def example_pictures(branch: MeasuredBranch) -> list[str]:
    """The ground truth and the prediction of the images that are shown, by what they are."""
    parts = []
    for kind, positions in branch.examples.items():
        pictures = [example_picture(branch, position) for position in positions if position in branch.pictures]
        if pictures:
            parts.append(heading(TITLES.get(kind, kind)) + gallery(pictures))
    if parts and branch.diagnosis is not None:
        text = "By the loss of their prediction: 0 is right, and the larger it is, the worse. A name leads to the image's file."
        parts.insert(0, paragraph(text))
    return parts


def example_picture(branch: MeasuredBranch, position: int) -> Picture:
    """One image with its ground truth and its prediction beside each other, and what is wrong in it."""
    ground_truth, prediction = branch.pictures[position]
    path, text = branch.paths[position], ""
    if branch.diagnosis is not None:
        text = _text(float(branch.diagnosis.image_losses[position]), branch.diagnosis.image_texts[position])
    return Picture({"ground truth": ground_truth, "prediction": prediction}, path.name, file_link(path), text)


def _text(loss: float, text: str) -> str:
    return f"loss {loss:.3g}" + (f": {text}" if text else "")


def _wrong_labels(branch: MeasuredBranch) -> list[str]:
    labels = branch.diagnosis.likely_wrong if branch.diagnosis is not None else ()
    if not labels:
        return []
    pictures = [
        Picture(
            image,
            branch.paths[labels[number].image].name,
            file_link(branch.paths[labels[number].image]),
            labels[number].text,
        )
        for number, image in branch.wrong_pictures.items()
    ]
    rows = [(str(branch.paths[label.image]), label.text, float(label.confidence)) for label in labels]
    text = (
        "Labels that the model contradicts with confidence, the likeliest wrong first. Check each image before you change its "
        "label: the worse the model, the more of them are its errors."
    )
    listed = table(["image", "what seems wrong", "confidence"], rows, label="likely wrong labels")
    return [
        paragraph(text),
        gallery(pictures[:SHOWN_WRONG], small=True),
        details(f"{len(pictures) - SHOWN_WRONG} more pictures", gallery(pictures[SHOWN_WRONG:], small=True)),
        heading("All of them"),
        listed,
    ]
