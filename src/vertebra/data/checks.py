"""Checks a data set before training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vertebra.annotations.notes import SHOWN, plural
from vertebra.annotations.table import SPLITS
from vertebra.data.class_mapping import class_mapping
from vertebra.data.index import Index
from vertebra.data.open import TABLE, choose_format, open_data
from vertebra.data.splits import NoSplit, check_split, empty_split
from vertebra.errors import DataError
from vertebra.preprocess.images import decoded_size
from vertebra.shards.members import file_size, read_file
from vertebra.tasks import get_task

NEEDED = ("train", "val")  # splits that a run needs
TOLD_IGNORED = 0.005  # least share of ignored pixels that is reported
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """A problem of a data set.

    Attributes:
        kind: a short name: "unreadable", "labels", "size", "outside", "ignored", "note", "leak", "refused", "nothing", "advice".
        severity: "error": these images cannot be used; "warning": a run is possible.
        message: a description with the first names.
        count: number of images, boxes or classes.
    """

    kind: str
    severity: Severity
    message: str
    count: int


@dataclass
class SplitReport:
    """One split.

    Attributes:
        images: number of images.
        classes: for each class, its number of boxes; for classify and segment, its number of images.
        findings: its problems.
        counted: number of objects (for classify and segment, images) that count in the metrics.
    """

    images: int
    classes: dict[str, int]
    findings: list[Finding]
    counted: int = 0


@dataclass
class DataReport:
    """The format, content and problems of a data set.

    Attributes:
        path, format, task: the data set, its format and the task.
        splits: by name.
        findings: problems of several splits.
    """

    path: str
    format: str
    task: str
    splits: dict[str, SplitReport] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        findings = [*self.findings, *(finding for split in self.splits.values() for finding in split.findings)]
        return not any(finding.severity == "error" for finding in findings)

    def text(self) -> str:
        """The report as lines of text."""
        lines = [f"{self.path}: format {self.format}, task {self.task}"]
        for name, split in self.splits.items():
            counts = ", ".join(f"{label} {count}" for label, count in split.classes.items())
            lines.append(f"{name}: {split.images} image{'' if split.images == 1 else 's'} ({counts})")
            lines += [f"  {finding.severity}: {finding.message}" for finding in split.findings]
        lines += [f"{finding.severity}: {finding.message}" for finding in self.findings]
        if not any([self.findings, *(split.findings for split in self.splits.values())]):
            lines.append("no problems")
        return "\n".join(lines)


def check_data(
    path: str | Path,
    task: str,
    *,
    split: str | None = None,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    seed: int = 0,
    multilabel: bool = False,
    columns: Mapping[str, str | int] | None = None,
) -> DataReport:
    """Opens a data set as a training run does, and reads every image and annotation.

    Problems that stop or spoil training are errors of the report: a missing train or val split, a file that cannot be read, a
    split without usable annotations.

    Args:
        split: one split only; None for train, val, and test where there is one.
        path, task, format, classes, ignore_index, seed, multilabel, columns: as `vertebra.data.open.open_data` takes them.

    Raises:
        DataError: it is missing, empty, of unknown format, without labels for the task, or without this ``split``.
        UnknownName: there is no such task or format.
    """
    if split is not None:
        check_split(split)
    get_task(task)
    name = choose_format(path, task, TABLE if columns and format is None else format)
    report = DataReport(str(path), name, task)
    opened: dict[str, Index] = {}
    options: dict[str, Any] = {"format": name, "ignore_index": ignore_index, "seed": seed, "multilabel": multilabel}
    options["columns"] = columns
    for split_name in SPLITS if split is None else (split,):
        try:
            opened[split_name] = open_data(path, task, split_name, classes=classes, **options)
        except NoSplit as error:
            if split is not None:
                raise
            if split_name in NEEDED:
                report.findings.append(_refused(split_name, error))
        except DataError as error:
            report.findings.append(_refused(split_name, error))
        if split_name == "train" and split_name in opened and classes is None:
            classes = opened[split_name].labels[task].classes  # the other splits use the classes of train
    images = sum(map(len, opened.values()))
    for split_name, index in opened.items():
        report.splits[split_name] = split_report = _check_split(index, task)
        needed = split_name in NEEDED or split is not None  # a run needs no test split
        severity: Severity = "error" if needed else "warning"
        if len(index):
            train = opened.get("train", index)
            split_report.findings += _unusable(split_report, index, task, split_name, train, severity)
        else:
            split_report.findings.append(Finding("nothing", severity, empty_split(report.path, split_name, images), 0))
    if opened:
        first = next(iter(opened.values()))
        advice = get_task(task).data.advice(first.labels[task], first.columns[task])
        report.findings += [Finding("advice", "warning", line, 1) for line in advice]
    report.findings += leaks(opened)
    return report


def _refused(split: str, error: DataError) -> Finding:
    return Finding("refused", "error", f"{split}: {error}", 1)


def _unusable(
    report: SplitReport, index: Index, task: str, split: str, train: Index, severity: Severity
) -> list[Finding]:
    """Why a split cannot be used for training or for evaluation.

    Args:
        train: the split whose labels a run would use.
        severity: of the findings.
    """
    use = "learn from" if split == "train" else "measure by"
    try:
        mapping, _ = class_mapping(index.labels[task], train.labels[task], task, str(index.root))
    except DataError as error:
        return [Finding("refused", severity, str(error), 1)]
    usable = get_task(task).data.usable(mapping.source_labels, index.columns[task], mapping.ids)
    if not usable.any():
        return [Finding("nothing", severity, f"no image is labeled for task {task}: nothing to {use}", len(index))]
    if not report.counted:
        what = "its image has nothing" if len(index) == 1 else f"none of its {len(index)} images has anything"
        return [Finding("nothing", severity, f"{what} that counts for task {task}: nothing to {use}", len(index))]
    return []


def check(index: Index) -> list[Finding]:
    """The problems of one split: decodes every image and reads every annotation."""
    return [finding for task in index.columns for finding in _check_split(index, task).findings]


def leaks(indices: dict[str, Index]) -> list[Finding]:
    """Images with identical bytes in two splits, under any name."""
    first: dict[bytes, tuple[str, str]] = {}
    leaks = []
    for split, index in indices.items():
        for row in range(len(index)):
            path = index.path(row)
            if file_size(path) is None:
                continue
            other = first.setdefault(hashlib.blake2b(read_file(path), digest_size=16).digest(), (split, path.name))
            if other[0] != split:
                leaks.append(f"{other[0]} {other[1]} = {split} {path.name}")
    return [_finding("leak", "warning", "image", "in two splits", leaks)] if leaks else []


def _check_split(index: Index, task: str) -> SplitReport:
    column, data = index.columns[task], get_task(task).data
    counted = 0
    ignored, pixels = 0, 0
    unreadable: list[str] = []
    wrong: list[str] = []
    outside: dict[str, list[str]] = {}
    adapted: dict[str, list[str]] = {}
    counts = np.zeros(index.labels[task].class_count, dtype=np.int64)
    for row in range(len(index)):
        path = index.path(row)
        try:
            size = decoded_size(path)
        except DataError as error:
            unreadable.append(_without(str(error), index.root))
            continue
        if not column.labeled[row]:
            continue
        try:
            annotation = column.get(row, (size[0], size[1]))
        except DataError as error:
            wrong.append(f"{path.name}: {_without(str(error), index.root)}")
            continue
        change = column.adapted(row, (size[0], size[1]))
        if change:
            adapted.setdefault(change, []).append(path.name)
        counts += data.occurrences(annotation, len(counts))
        counted += data.counted(annotation, index.labels[task])
        ignored, pixels = (
            a + b for a, b in zip((ignored, pixels), data.ignored(annotation, index.labels[task]), strict=True)
        )
        for what, number in column.count_out_of_bounds(row, (size[0], size[1])).items():
            outside.setdefault(what, []).extend([path.name] * number)
    findings = []
    if unreadable:
        findings.append(_finding("unreadable", "error", "image", "cannot be read", unreadable))
    if wrong:
        findings.append(_finding("labels", "error", "annotation", "at odds with its image or the classes", wrong))
    for change, names in adapted.items():
        which = f"annotated for another size or orientation: annotations are {change} in training and evaluation"
        findings.append(_finding("size", "warning", "image", which, names))
    for what, names in outside.items():
        findings.append(_finding("outside", "warning", what, "reaching out of the image as it is decoded", names))
    if ignored >= max(1, TOLD_IGNORED * pixels):
        share = f"{ignored / pixels:.1%} of the pixels of its masks are ignored: no model learns them, and no metric counts them"
        findings.append(Finding("ignored", "warning", share, ignored))
    findings += [Finding("note", "warning", str(note), note.count) for note in index.notes]
    classes = dict(zip(index.labels[task].classes, counts.tolist(), strict=True))
    return SplitReport(len(index), classes, findings, counted)


def _finding(kind: str, severity: Severity, noun: str, which: str, names: Sequence[str]) -> Finding:
    different = list(dict.fromkeys(names))
    shown = "; ".join(different[:SHOWN]) + ("; …" if len(different) > SHOWN else "")
    nouns = noun if len(names) == 1 else plural(noun)
    return Finding(kind, severity, f"{len(names)} {nouns} {which}: {shown}", len(names))


def _without(message: str, root: Path) -> str:
    """A message with paths relative to the data set."""
    return message.replace(f"{root}/", "")
