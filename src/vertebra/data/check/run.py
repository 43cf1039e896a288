"""All checks of a data set."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.data.check import boxes, duplicates, images, labels, splits
from vertebra.data.check.annotation_findings import annotation_findings
from vertebra.data.check.attributes import attribute_counts, differing_values
from vertebra.data.check.open_splits import NEEDED, OpenedData, OpenedSplit, column_of_images, find_for_tasks, open_all
from vertebra.data.check.report import DataReport, Finding, Severity, SplitReport
from vertebra.data.check.scanning import Scan, ScannedSplit, scan
from vertebra.data.drawing_groups import group_columns
from vertebra.data.open import TABLE, readings
from vertebra.data.splits import check_split, empty_split
from vertebra.tasks import get_task

Progress = Callable[[int, int], None]
"""Is called with the number of images read so far, and of all images."""
DROPPED_CURE = "correct them where they were made; --fix leaves them out"


def check_data(
    path: str | Path,
    task: str | None = None,
    *,
    split: str | None = None,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    seed: int = 0,
    multilabel: bool = False,
    group_by: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    progress: Progress | None = None,
) -> DataReport:
    """Opens a data set as a training run does, reads every image and annotation once, and reports what is wrong.

    Problems that stop or spoil training are errors of the report: a missing train or val split, a file that cannot be read, a
    split without usable annotations, boxes in another convention, masks whose values are no classes.

    Args:
        task: its name; None for all tasks that the data set has annotations for.
        split: one split only; None for train, val, and test where there is one.
        path, format, classes, ignore_index, seed, multilabel, columns: as `vertebra.data.open.open_data` takes them.
        group_by: which images belong together, see `vertebra.data.analysis.groups.group_by`; None to guess it.

    Raises:
        DataError: it is missing, empty, of unknown format, without labels for the task, or without this ``split``.
        UnknownName: there is no such task or format.
    """
    pairs = tuple((role, str(name)) for role, name in (columns or {}).items())
    options = ReadOptions(_tuple(classes), ignore_index, seed, multilabel, columns=pairs)
    return checked(path, task, split, format, options, group_by, progress).report


@dataclass
class Checked:
    """A data set after all checks.

    Attributes:
        report: what was found.
        opened: the data set.
        parts: its splits after the pass over the images.
    """

    report: DataReport
    opened: OpenedData
    parts: list[ScannedSplit]


def checked(
    path: str | Path,
    task: str | None,
    split: str | None,
    format: str | None,
    options: ReadOptions,
    group_by: str | None = None,
    progress: Progress | None = None,
) -> Checked:
    """The report of `check_data` with all that was read for it."""
    began = time.perf_counter()
    opened = opened_for_check(path, task, split, format, options)
    parts = list(_scanned(opened, progress))
    report = DataReport(str(path), opened.format, opened.tasks)
    for part in parts:
        report.splits[part.opened.name] = split_report(part)
    report.add(opened.findings)
    if task is not None and format is None:
        report.add(_other_readings(opened.path, task, opened.format))
    of_splits = [finding for part in parts for finding in _split_findings(part, report, opened, split)]
    report.add(_of_all_splits(of_splits))
    report.add(_class_findings(report, opened))
    whole = Scan.of(parts)
    codes = duplicates.exact_groups(whole)
    report.add(images.odd(whole))
    report.add(images.number_range(parts))
    report.add(duplicates.exact(whole, codes))
    report.add(duplicates.near(whole, codes))
    columns = None
    if group_by is not None:
        of_images = column_of_images(opened.path, opened.format, group_by, options)
        columns = group_columns([part.opened.annotations for part in parts], group_by, of_images)
    report.add(duplicates.groups(whole, group_by, columns))
    report.add(labels.conflicting_labels(parts, whole, codes))
    report.seconds = round(time.perf_counter() - began, 2)
    return Checked(report, opened, parts)


def opened_for_check(
    path: str | Path, task: str | None, split: str | None, format: str | None, options: ReadOptions
) -> OpenedData:
    """Opens a data set for one task, or for all that it has annotations for; raises as `check_data` does."""
    if split is not None:
        check_split(split)
    data_set, tasks = find_for_tasks(path, task, TABLE if options.columns and format is None else format)
    opened = open_all(data_set.path, data_set.format, tasks, options, split)
    opened.findings += [Finding.of_note(note, severity="info") for note in data_set.notes]
    return opened


def split_report(part: ScannedSplit) -> SplitReport:
    """The counts of a split."""
    report = SplitReport(len(part.opened), attributes=attribute_counts(part.opened.annotations))
    for task, index in part.opened.indices.items():
        names = index.labels[task].classes
        counts = np.zeros(len(names), dtype=np.int64)
        report.counted[task] = 0
        for _, facts in part.with_task(task):
            if facts.occurrences is not None:
                counts += facts.occurrences
                report.counted[task] += facts.counted
        report.classes[task] = dict(zip(names, counts.tolist(), strict=True))
    return report


def _scanned(opened: OpenedData, progress: Progress | None) -> Iterator[ScannedSplit]:
    total = sum(map(len, opened.splits.values()))
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    for one in opened.splits.values():
        yield scan(one, step=step)


def _split_findings(part: ScannedSplit, report: DataReport, opened: OpenedData, asked: str | None) -> Iterator[Finding]:
    """Everything about one split."""
    one = part.opened
    if not len(one):
        total = sum(each.images for each in report.splits.values())
        severity: Severity = "error" if one.name in NEEDED or asked is not None else "warning"
        yield Finding("nothing", severity, empty_split(report.path, one.name, total), 0, split=one.name)
        return
    yield from images.unreadable(part)
    for task in one.indices:
        yield from annotation_findings(part, task)
    yield from _notes(one)
    yield from labels.unannotated(one)
    yield from boxes.convention(one, part.sizes())
    yield from boxes.tiny(one)
    yield from boxes.twins(one)
    severe: Severity = "error" if one.name in NEEDED or asked is not None else "warning"  # a run needs no test split
    train = opened.splits.get("train", one)
    for task, index in one.indices.items():
        if task in train.indices:
            yield from splits.unusable(report.splits[one.name], index, task, one.name, train.indices[task], severe)


def _of_all_splits(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Findings of splits; what is the same in several, as the notes on the files they are drawn from, once for all."""
    copies = Counter((finding.kind, finding.message) for finding in findings if finding.kind == "note")
    shown: set[tuple[str, str]] = set()
    for finding in findings:
        key = (finding.kind, finding.message)
        if copies[key] < 2:
            yield finding
        elif key not in shown:
            shown.add(key)
            yield replace(finding, split="")


def _notes(opened: OpenedSplit) -> Iterator[Finding]:
    """The readers' notes, each once."""
    reported: set[str] = set()
    for index in opened.indices.values():
        for note in index.notes:
            if str(note) not in reported and not (opened.name != "train" and note.which == "that no image has"):
                reported.add(str(note))
                yield replace(_of_note(note), split=opened.name)


def _of_note(note: Note) -> Finding:
    if note.which == "without a given split":
        return Finding.of_note(note, "drawn_split", "info")
    finding = Finding.of_note(note)
    return replace(finding, cure=DROPPED_CURE) if note.done.startswith("dropped") else finding


def _class_findings(report: DataReport, opened: OpenedData) -> Iterator[Finding]:
    """Everything about the classes, of all splits together."""
    first = next(iter(opened.splits.values()), None)
    if first is None:
        return
    if first.annotations is not None:
        yield from labels.category_ids(first.annotations)
    for task, index in first.indices.items():
        yield from labels.similar_names(index.labels[task].classes, task)
        counts = {name: one.classes[task] for name, one in report.splits.items() if task in one.classes}
        yield from labels.class_counts(counts.get("train", {}), task, "train")
        yield from labels.missing_classes(counts, task)
        lines = get_task(task).data.advice(index.labels[task], index.columns[task])
        yield from (Finding("advice", "warning", line, 1, task=task) for line in lines)
    yield from differing_values([one.attributes for one in report.splits.values()])
    yield from splits.tiny(report.splits)


def _other_readings(path: Path, task: str, format: str) -> Iterator[Finding]:
    others = [name for name in readings(path, task) if name != format]
    if others:
        which, cure = f"left aside for {format}", "choose with --format"
        yield Finding.of("other_reading", "info", "other reading", which, others, cure)


def _tuple(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if classes is None else tuple(classes)
