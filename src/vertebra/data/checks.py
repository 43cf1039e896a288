"""Looks at a data set before a model does: what would hurt a training run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from vertebra.data.index import SHOWN, Index, plural
from vertebra.data.open import detect_format, open_data
from vertebra.data.splits import SPLITS, NoSplit, check_split, empty_split
from vertebra.errors import DataError
from vertebra.preprocess.images import read_image
from vertebra.tasks import get_task

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that would hurt.

    Attributes:
        kind: a short name: "unreadable", "labels", "outside", "note", "leak".
        severity: "error": these images cannot be used; "warning": a run can go on.
        message: what it is, with the first names.
        count: how many images, boxes or classes.
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
        classes: for each class, how many boxes it has; for classify and segment, in how many images it is.
        findings: what would hurt.
    """

    images: int
    classes: dict[str, int]
    findings: list[Finding]


@dataclass
class DataReport:
    """What a data set is, and what is wrong with it.

    Attributes:
        path, format, task: what was looked at.
        splits: by name.
        findings: what concerns several splits.
    """

    path: str
    format: str
    task: str
    splits: dict[str, SplitReport] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        every = [*self.findings, *(finding for split in self.splits.values() for finding in split.findings)]
        return not any(finding.severity == "error" for finding in every)

    def text(self) -> str:
        """The report as lines of text."""
        lines = [f"{self.path}: format {self.format}, task {self.task}"]
        for name, split in self.splits.items():
            counts = ", ".join(f"{label} {count}" for label, count in split.classes.items())
            lines.append(f"{name}: {split.images} images ({counts})")
            lines += [f"  {finding.severity}: {finding.message}" for finding in split.findings]
        lines += [f"{finding.severity}: {finding.message}" for finding in self.findings]
        if len(lines) == 1 + len(self.splits):
            lines.append("nothing found that would hurt")
        return "\n".join(lines)


def check_data(
    path: str | Path,
    task: str,
    *,
    split: str | None = None,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
    exclusive: bool = True,
) -> DataReport:
    """Looks at every image and annotation of a data set.

    Args:
        split: one split only; None for all that there are.
        path, task, format, classes, ignore_index, exclusive: as `vertebra.data.open.open_data` takes them.

    Raises:
        DataError: it cannot be opened at all.
    """
    if split is not None:
        check_split(split)
    name = format or detect_format(path)
    report = DataReport(str(path), name, task)
    opened: dict[str, Index] = {}
    refused: NoSplit | None = None
    for one in SPLITS if split is None else (split,):
        try:
            opened[one] = open_data(
                path, task, one, format=name, classes=classes, ignore_index=ignore_index, exclusive=exclusive
            )
        except NoSplit as error:
            refused = error
    if not opened and refused is not None:
        raise refused
    images = sum(map(len, opened.values()))
    for one, index in opened.items():
        report.splits[one] = _look(index, task)
        if not len(index) and split is None:
            severity: Severity = "warning" if one == "test" else "error"  # training does without test images
            report.findings.append(Finding("empty", severity, empty_split(report.path, one, images), 1))
    report.findings += leaks(opened)
    return report


def check(index: Index) -> list[Finding]:
    """What would hurt in one split: every image is decoded and every annotation read."""
    return [finding for task in index.columns for finding in _look(index, task).findings]


def leaks(indices: dict[str, Index]) -> list[Finding]:
    """Images that are in two splits, byte for byte the same, under whatever name."""
    first: dict[bytes, tuple[str, str]] = {}
    found = []
    for split, index in indices.items():
        for row in range(len(index)):
            path = index.path(row)
            if not path.is_file():
                continue
            other = first.setdefault(hashlib.blake2b(path.read_bytes(), digest_size=16).digest(), (split, path.name))
            if other[0] != split:
                found.append(f"{other[0]} {other[1]} = {split} {path.name}")
    return [_finding("leak", "warning", "image", "in two splits", found)] if found else []


def _look(index: Index, task: str) -> SplitReport:
    column = index.columns[task]
    unreadable: list[str] = []
    wrong: list[str] = []
    outside: dict[str, list[str]] = {}
    counts = np.zeros(index.labels[task].class_count, dtype=np.int64)
    for row in range(len(index)):
        path = index.path(row)
        try:
            size = read_image(path).shape[:2]
        except DataError as error:
            unreadable.append(_without(str(error), index.root))
            continue
        if not column.labelled[row]:
            continue
        try:
            annotation = column.get(row, (size[0], size[1]))
        except DataError as error:
            wrong.append(f"{path.name}: {_without(str(error), index.root)}")
            continue
        counts += get_task(task).data.occurrences(annotation, len(counts))
        for what, number in column.beyond(row, (size[0], size[1])).items():
            outside.setdefault(what, []).extend([path.name] * number)
    findings = []
    if unreadable:
        findings.append(_finding("unreadable", "error", "image", "cannot be read", unreadable))
    if wrong:
        findings.append(_finding("labels", "error", "annotation", "at odds with its image or the classes", wrong))
    for what, names in outside.items():
        findings.append(_finding("outside", "warning", what, "reaching out of the image as it is decoded", names))
    if len(index) and not counts.any():
        findings.append(
            Finding("nothing", "warning", "no image has anything labeled to find, so no metric can be measured", 1)
        )
    findings += [Finding("note", "warning", str(note), note.count) for note in index.notes]
    classes = dict(zip(index.labels[task].classes, counts.tolist(), strict=True))
    return SplitReport(len(index), classes, findings)


def _finding(kind: str, severity: Severity, thing: str, which: str, names: Sequence[str]) -> Finding:
    different = list(dict.fromkeys(names))
    shown = "; ".join(different[:SHOWN]) + ("; …" if len(different) > SHOWN else "")
    things = thing if len(names) == 1 else plural(thing)
    return Finding(kind, severity, f"{len(names)} {things} {which}: {shown}", len(names))


def _without(message: str, root: Path) -> str:
    """A message with paths relative to the data set."""
    return message.replace(f"{root}/", "")
