"""Annotations that do not fit their image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vertebra.data.check import images, masks
from vertebra.data.check.report import Finding
from vertebra.data.check.scanning import ScannedSplit


def annotation_findings(part: ScannedSplit, task: str) -> Iterator[Finding]:
    """What is wrong with the annotations of a split for one task, once its images are read."""
    where: dict[str, Any] = {"split": part.opened.name, "task": task}
    wrong = [(name, facts.error) for name, facts in part.with_task(task) if facts.error]
    if wrong:
        root = part.opened.images.root
        reasons = [f"{name.rpartition('/')[2]}: {images.without_root(reason, root)}" for name, reason in wrong]
        files = tuple(name for name, _ in wrong)
        which = "at odds with its image or the classes"
        yield Finding.of("labels", "error", "annotation", which, reasons, files=files, **where)
    for change in ("scaled", "turned"):
        names = [name for name, facts in part.with_task(task) if facts.adapted == change]
        if names:
            which = f"annotated for another size or orientation: annotations are {change} in training and evaluation"
            cure = "--fix writes annotations for the images as they are"
            yield Finding.of("size", "warning", "image", which, names, cure, **where)
    outside: dict[str, list[str]] = {}
    for name, facts in part.with_task(task):
        for what, number in facts.outside.items():
            outside.setdefault(what, []).extend([name] * number)
    for what, names in outside.items():
        which = "reaching out of the image as it is decoded"
        yield Finding.of("outside", "warning", what, which, names, "--fix clips them to the image", **where)
    yield from masks.mask_findings(part, task)
