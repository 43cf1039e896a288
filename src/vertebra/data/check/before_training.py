"""The quick part of the check, which ``vertebra train`` runs first: what the opened data show, and a sample of their images."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from vertebra.data.check import images, labels
from vertebra.data.check.annotation_findings import annotation_findings
from vertebra.data.check.open_splits import OpenedSplit
from vertebra.data.check.report import Finding, by_severity
from vertebra.data.check.scanning import ScannedSplit, scan
from vertebra.data.index import Index
from vertebra.data.samples import too_many_skipped
from vertebra.data.sources import Source
from vertebra.errors import DataError
from vertebra.tasks import get_task

SAMPLE = 32
OPTION = "to train all the same, set data.check=false; all findings: vertebra data check"
WARNED = frozenset(
    {"few_samples", "imbalance", "similar_names", "size", "lossy_masks", "soft_masks", "ignored_pixels", "specks"}
)


def check_before_training(train: Sequence[Source], val: Sequence[Source]) -> list[str]:
    """Warnings about the data of a run, from their annotations and a sample of 32 images of each data set.

    Args:
        train, val: the opened data sets.

    Returns:
        Lines, each with what to do.

    Raises:
        DataError: more of the sampled images than a training may leave out cannot be used.
    """
    findings = [*_same_images(train, val), *_of_classes(train)]
    for name, sources in (("train", train), ("val", val)):
        for source in sources:
            findings += _of_source(name, source)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise DataError(f"{_line(errors[0])} ({OPTION})")
    return list(dict.fromkeys(_line(finding) for finding in by_severity(findings)))


def _of_classes(train: Sequence[Source]) -> Iterator[Finding]:
    """The classes of all data sets of training together, with those of few samples in one finding for all tasks."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for source in train:
        names = source.rename_classes or {}
        for task in source.index.columns:
            of_task = sample_counts(source.index, task)
            for name, count in of_task.items():
                counts[task][names.get(name, name)] += count
    few: list[Finding] = []
    for task, of_classes in counts.items():
        for finding in (
            *labels.class_counts(of_classes, task, "train"),
            *labels.similar_names(tuple(of_classes), task),
        ):
            if finding.kind == "few_samples":
                few.append(finding)
            else:
                yield finding
    if few:
        message = "; ".join(f"{one.task}: {one.message}" for one in few) if len(few) > 1 else few[0].message
        yield replace(few[0], message=message)


def _of_source(split: str, source: Source) -> Iterator[Finding]:
    index = source.index
    opened = OpenedSplit(split, None, {task: _of_task(index, task) for task in index.columns})
    rows = np.unique(np.linspace(0, len(index) - 1, min(SAMPLE, len(index)), dtype=int))
    part = scan(opened, rows)
    yield from _unusable(part)
    for task in index.columns:
        yield from (one for one in annotation_findings(part, task) if one.kind in WARNED)


def _unusable(part: ScannedSplit) -> Iterator[Finding]:
    """Images of the sample that a training would have to leave out, an error if there are too many of them."""
    broken = list(images.unreadable(part))
    wrong = [one for task in part.opened.indices for one in annotation_findings(part, task) if one.kind == "labels"]
    if too_many_skipped(sum(one.count for one in (*broken, *wrong)), len(part.rows)):
        yield from (*broken, *wrong)


def sample_counts(index: Index, task: str) -> Mapping[str, int]:
    """The samples of each class: objects, or images for classes of images; empty where only the images themselves show them."""
    strata, classes = index.strata(task), index.labels[task].classes
    if strata.ndim == 2:
        sums = strata[:, : len(classes)].sum(axis=0, dtype=np.int64)
    elif get_task(task).image_level:
        sums = np.bincount(strata[strata >= 0], minlength=len(classes))
    else:
        return {}
    return dict(zip(classes, sums.tolist(), strict=True))


def _of_task(index: Index, task: str) -> Index:
    return Index(index.root, index.images, {task: index.columns[task]}, {task: index.labels[task]})


def _same_images(train: Sequence[Source], val: Sequence[Source]) -> Iterator[Finding]:
    """Images that the configuration uses for training and for validation."""
    names = [
        os.fsdecode(name).rpartition("/")[2]
        for one in train
        for other in val
        if one.index.root == other.index.root
        for name in np.intersect1d(one.index.images, other.index.images)
    ]
    if names:
        cure = "the metrics of val then measure how well train was memorized; give val images of its own"
        yield Finding.of("leak", "warning", "image", "in train and in val", names, cure)


def _line(finding: Finding) -> str:
    where = f"{finding.split}: " if finding.split else ""
    cure = f"; {finding.cure}" if finding.cure else ""
    return f"data check: {where}{finding.message}{cure}"
