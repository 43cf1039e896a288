"""What a check finds, and the report of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from vertebra.annotations.notes import SHOWN, Note, plural

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
MAX_CLASSES = 20  # of which a line of the text names the counts


@dataclass(frozen=True)
class Finding:
    """A problem of a data set, or a fact to know about it.

    Attributes:
        kind: a short name, such as "unreadable", "near_duplicates", "imbalance".
        severity: "error": would stop or spoil a training; "warning": a run is possible, and likely worse for it; "info".
        message: a description with the first names.
        count: number of images, objects or classes.
        files: all files that it is about.
        cure: what to do about it.
        split: where it occurs; empty for several splits or all.
        task: for which it is a problem; empty for all.
    """

    kind: str
    severity: Severity
    message: str
    count: int
    files: tuple[str, ...] = ()
    cure: str = ""
    split: str = ""
    task: str = ""

    @classmethod
    def of(
        cls, kind: str, severity: Severity, noun: str, which: str, names: Sequence[str], cure: str = "", **fields: Any
    ) -> Finding:
        """A finding about these files or classes, one name for each item: "2 images cannot be read: a.png; b.png".

        Args:
            fields: of the finding; ``files`` are the names where they are not among them.
        """
        nouns = noun if len(names) == 1 else plural(noun)
        message = f"{len(names)} {nouns} {which}: {shown(names)}"
        return cls(kind, severity, message, len(names), **{"files": unique(names), "cure": cure, **fields})

    @classmethod
    def of_note(cls, note: Note, kind: str = "note", severity: Severity = "warning") -> Finding:
        """A finding from the note of a reader."""
        return cls(kind, severity, str(note), note.count, note.every or note.names)


def shown(names: Sequence[str]) -> str:
    """The first few of some names, each once, as text."""
    different = unique(names)
    return "; ".join(different[:SHOWN]) + ("; …" if len(different) > SHOWN else "")


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in order."""
    return tuple(dict.fromkeys(names))


@dataclass
class SplitReport:
    """One split.

    Attributes:
        images: number of images.
        classes: by task and class, its number of boxes; for classify and segment, its number of images.
        findings: its problems.
        counted: by task, the number of objects (for classify and segment, images) that count in the metrics.
        attributes: by attribute and value, the number of objects; under "" those without a value.
    """

    images: int
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass
class DataReport:
    """The format, content and problems of a data set.

    Attributes:
        path, format, tasks: the data set, its format and the tasks for which it was checked.
        splits: by name.
        findings: problems of several splits.
        seconds: that the check took.
    """

    path: str
    format: str
    tasks: tuple[str, ...]
    splits: dict[str, SplitReport] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, findings: Iterable[Finding]) -> None:
        """Adds findings, those of a split to it."""
        for finding in findings:
            report = self.splits.get(finding.split)
            (self.findings if report is None else report.findings).append(finding)

    @property
    def every(self) -> list[Finding]:
        """All findings, with their splits, the most severe first."""
        findings = [replace(finding, split=name) for name, report in self.splits.items() for finding in report.findings]
        return by_severity([*findings, *self.findings])

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.every)

    def text(self) -> str:
        """The report as lines of text."""
        tasks = "task" if len(self.tasks) == 1 else "tasks"
        lines = [f"{self.path}: format {self.format}, {tasks} {', '.join(self.tasks) or 'none'}"]
        for name, report in self.splits.items():
            lines += _split_lines(name, report)
            lines += [line for finding in by_severity(report.findings) for line in self._lines(finding, "  ")]
        lines += [line for finding in by_severity(self.findings) for line in self._lines(finding, "")]
        if not any(finding.severity != "info" for finding in self.every):
            lines.append("no problems")
        return "\n".join(lines)

    def _lines(self, finding: Finding, indent: str) -> list[str]:
        task = f" ({finding.task})" if finding.task and len(self.tasks) > 1 else ""
        lines = [f"{indent}{finding.severity}{task}: {finding.message}"]
        return [*lines, f"{indent}  -> {finding.cure}"] if finding.cure else lines


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Findings, errors first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _split_lines(name: str, report: SplitReport) -> list[str]:
    head = f"{name}: {report.images} image{'' if report.images == 1 else 's'}"
    attributes = [
        f"  attribute {attribute}: {_counts(_named(counts))}" for attribute, counts in report.attributes.items()
    ]
    if len(report.classes) == 1:
        return [f"{head} ({_counts(next(iter(report.classes.values())))})", *attributes]
    return [head, *(f"  {task}: {_counts(counts)}" for task, counts in report.classes.items()), *attributes]


def _named(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts of an attribute, with a name for objects without a value."""
    return {value or "without a value": count for value, count in counts.items()}


def _counts(counts: Mapping[str, int]) -> str:
    listed = [f"{label} {count}" for label, count in list(counts.items())[:MAX_CLASSES]]
    more = len(counts) - MAX_CLASSES
    return ", ".join([*listed, f"and {more} more classes"] if more > 0 else listed)
