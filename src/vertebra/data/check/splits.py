"""Splits that a run cannot use, or that are too small for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vertebra.data.check.report import Finding, Severity, SplitReport
from vertebra.data.class_mapping import class_mapping
from vertebra.data.index import Index
from vertebra.errors import DataError
from vertebra.tasks import get_task

MIN_IMAGES = 10


def unusable(
    report: SplitReport, index: Index, task: str, split: str, train: Index, severity: Severity
) -> Iterator[Finding]:
    """Why a split cannot be used for training or for evaluation.

    Args:
        train: the split whose labels a run would use.
        severity: of the findings.
    """
    use = "learn from" if split == "train" else "measure by"
    where: dict[str, Any] = {"split": split, "task": task}
    try:
        mapping, _ = class_mapping(index.labels[task], train.labels[task], task, str(index.root))
    except DataError as error:
        yield Finding("refused", severity, str(error), 1, **where)
        return
    data = get_task(task).data
    if not data.usable(mapping.source_labels, index.columns[task], mapping.ids).any():
        message = f"no image is labeled for task {task}: nothing to {use}"
        yield Finding("nothing", severity, message, len(index), **where)
    elif not report.counted[task]:
        what = "its image has nothing" if len(index) == 1 else f"none of its {len(index)} images has anything"
        message = f"{what} that counts for task {task}: nothing to {use}"
        yield Finding("nothing", severity, message, len(index), **where)


def tiny(reports: dict[str, SplitReport]) -> Iterator[Finding]:
    """Val and test splits of very few images, beside a larger train split."""
    train = reports.get("train")
    for name in ("val", "test"):
        report = reports.get(name)
        if train is not None and report is not None and 0 < report.images < MIN_IMAGES <= train.images:
            count = f"{report.images} image{'' if report.images == 1 else 's'}"
            cure = "metrics on so few images are mostly chance; draw a larger split: vertebra data split"
            yield Finding("tiny_split", "warning", f"it has {count} only", report.images, (), cure, name)
