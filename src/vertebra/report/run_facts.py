"""What a run's files hold, for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class MetricFacts:
    """One metric.

    Attributes:
        lower_is_better: whether smaller values are better.
        meaning: what it measures, in a sentence; empty where its task does not describe it.
    """

    lower_is_better: bool = False
    meaning: str = ""

    @property
    def direction(self) -> str:
        """Which values are better, for the axis of a chart."""
        return f"{'lower' if self.lower_is_better else 'higher'} is better"


@dataclass(frozen=True)
class RunFacts:
    """A run.

    Attributes:
        folder: of the run.
        config: as in its ``config.yaml``.
        resolved: the options with defaults and automatic choices filled in.
        starts: the record of each start or resumption.
        rows: of its table of metrics, one an epoch.
        kept_epoch: the epoch of the kept weights; None if the run has not ended.
        kept_text: which weights are kept, and why.
        kept_scores: all metrics of the kept weights on the validation images.
        monitor: the metric that selected them; empty for none.
        metrics: facts about the metrics, by ``branch/metric``.
        tasks: the task of each branch.
        choices: the options that were chosen by the run itself: option, value and reason of each.
    """

    folder: Path
    config: Mapping[str, Any]
    resolved: Mapping[str, Any]
    starts: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, float]]
    kept_epoch: int | None
    kept_text: str
    kept_scores: Mapping[str, float]
    monitor: str = ""
    metrics: Mapping[str, MetricFacts] = field(default_factory=dict)
    tasks: Mapping[str, str] = field(default_factory=dict)
    choices: Sequence[Mapping[str, Any]] = ()

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as one level, with dotted names; lists are kept."""
    pairs: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            pairs |= flat(value, f"{prefix}{name}.")
        else:
            pairs[f"{prefix}{name}"] = value
    return pairs
