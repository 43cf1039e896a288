"""Counts, sizes and class balance of a data set, as rows of text for a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.data.check.run import Checked
from vertebra.data.check.scanning import ScannedSplit

SMALL, MEDIUM = 32**2, 96**2  # square pixels, as in COCO's evaluation
MAX_CLASSES = 40
BAR = 20  # characters of the longest bar


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: its heading.
        head: names of the columns.
        rows: their cells.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def overview(checked: Checked) -> list[Table]:
    """The tables of a data set: splits, classes of each task, values of each attribute of objects, sizes of objects."""
    tables = [_splits(checked)]
    tables += [_classes(checked, task) for task in checked.opened.tasks if _has(checked, task)]
    tables += _attributes(checked)
    sizes = _object_sizes(checked)
    return [*tables, sizes] if sizes is not None else tables


def _has(checked: Checked, task: str) -> bool:
    return any(task in report.classes for report in checked.report.splits.values())


def _splits(checked: Checked) -> Table:
    rows = []
    for part in checked.parts:
        sizes = part.sizes()
        sizes = sizes[(sizes > 0).all(axis=1)]
        rows.append(
            (
                part.opened.name,
                str(len(part.opened)),
                *_size_cells(sizes),
                _objects_cell(part),
                str(_problems(checked, part)),
            )
        )
    head = ("split", "images", "smallest", "median size", "largest", "objects an image", "findings")
    return Table("Splits", head, tuple(rows))


def _size_cells(sizes: np.ndarray) -> tuple[str, str, str]:
    """The images of smallest, median and largest area, as width x height."""
    if not len(sizes):
        return ("", "", "")
    order = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
    small, middle, large = (f"{width}x{height}" for height, width in order[[0, len(order) // 2, -1]].tolist())
    return (small, middle, large)


def _objects_cell(part: ScannedSplit) -> str:
    annotations = part.opened.annotations
    if annotations is None or not len(annotations.objects):
        return ""
    counts = np.bincount(annotations.objects.rows, minlength=len(annotations))
    return f"{counts.mean():.1f} ({counts.min()} to {counts.max()})"


def _problems(checked: Checked, part: ScannedSplit) -> int:
    findings = checked.report.splits[part.opened.name].findings
    return sum(finding.severity != "info" for finding in findings)


def _classes(checked: Checked, task: str) -> Table:
    by_split = {name: report.classes[task] for name, report in checked.report.splits.items() if task in report.classes}
    return _counts_table(f"Classes: {task}", "class", by_split)


def _attributes(checked: Checked) -> list[Table]:
    """A table for each attribute of objects."""
    reports = checked.report.splits
    names = dict.fromkeys(name for report in reports.values() for name in report.attributes)
    return [
        _counts_table(
            f"Attribute: {name}",
            "value",
            {
                split: {value or "(none)": count for value, count in report.attributes.get(name, {}).items()}
                for split, report in reports.items()
            },
        )
        for name in names
    ]


def _counts_table(title: str, noun: str, by_split: dict[str, dict[str, int]]) -> Table:
    totals: dict[str, int] = {}
    for counts in by_split.values():
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    most, whole = max([*totals.values(), 1]), max(sum(totals.values()), 1)
    listed = sorted(totals, key=lambda name: -totals[name])[:MAX_CLASSES]
    rows = [
        (
            name,
            *(str(counts.get(name, 0)) for counts in by_split.values()),
            f"{totals[name] / whole:.1%}",
            _bar(totals[name], most),
        )
        for name in listed
    ]
    left = len(totals) - len(listed)
    if left > 0:
        rows.append((f"and {left} more", *[""] * len(by_split), "", ""))
    return Table(title, (noun, *by_split, "share", ""), tuple(rows))


def _bar(count: int, most: int) -> str:
    length = round(BAR * count / most)
    return "█" * length if length or not count else "▏"


def _object_sizes(checked: Checked) -> Table | None:
    """How many boxes are small, medium and large, by split; None for a data set without boxes."""
    rows = []
    for part in checked.parts:
        annotations = part.opened.annotations
        if annotations is None or not annotations.objects.has_box.any():
            continue
        boxes = annotations.objects.boxes[annotations.objects.has_box]
        sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
        areas = sides.prod(axis=1)
        cells = [
            np.count_nonzero(chosen) for chosen in (areas < SMALL, (areas >= SMALL) & (areas < MEDIUM), areas >= MEDIUM)
        ]
        width, height = np.median(sides, axis=0).tolist()
        rows.append(
            (
                part.opened.name,
                str(len(boxes)),
                *(f"{cell} ({cell / len(boxes):.0%})" for cell in cells),
                f"{width:.0f}x{height:.0f}",
            )
        )
    if not rows:
        return None
    head = ("split", "boxes", "small (to 32x32)", "medium (to 96x96)", "large", "median size")
    return Table("Box sizes", head, tuple(rows))
