"""Selection of the best weights of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from vertebra.data.samples import MixedData
from vertebra.errors import UnknownName
from vertebra.model_info import ModelInfo
from vertebra.tasks import get_task


@dataclass(frozen=True)
class Score:
    """The number by which evaluations are compared.

    Attributes:
        name: of the metric.
        value: its value.
        lower_is_better: whether smaller values are better.
    """

    name: str
    value: float
    lower_is_better: bool


def directions(info: ModelInfo) -> dict[str, bool]:
    """All metrics of a model's evaluation, as ``branch/metric``, and whether smaller values are better."""
    known: dict[str, bool] = {}
    for branch, (task, labels) in info.branches.items():
        metric_directions = get_task(task).metric(labels).directions()
        known |= {f"{branch}/{name}": lower for name, lower in metric_directions.items()} | {f"{branch}/loss": True}
    return known


def lower_metrics(info: ModelInfo) -> list[str]:
    """The metrics of a model's evaluation for which smaller values are better."""
    return [name for name, lower in directions(info).items() if lower]


def check_monitor(info: ModelInfo, monitor: str | None) -> None:
    """Checks the name of the metric that selects the best weights.

    Raises:
        UnknownName: evaluations of this model have no such metric; with the nearest right name.
    """
    known = directions(info)
    if monitor is None or monitor in known:
        return
    same = [name for name in known if name.partition("/")[2] == monitor]
    close = [
        name for name in known if name.count("/") == 1
    ]  # without the metrics of single classes, which are too many
    raise UnknownName("metric for 'train.monitor':", monitor, same or close)


def main_score(info: ModelInfo, scores: Mapping[str, float], monitor: str | None) -> Score | None:
    """The score of the metric ``monitor``, or the mean of the branches' main metrics; None if it was not measured.

    In the mean, metrics for which smaller is better are negated.
    """
    known = directions(info)
    if monitor is not None:
        return Score(monitor, scores[monitor], known[monitor]) if monitor in scores else None
    names = [f"{branch}/{get_task(task).monitor}" for branch, (task, _) in info.branches.items()]
    measured = [name for name in names if name in scores]
    if not measured:
        return None
    if len(names) == 1:
        return Score(measured[0], scores[measured[0]], known[measured[0]])
    label = "mean of " + ", ".join(f"-{name}" if known[name] else name for name in measured)
    total = sum(-scores[name] if known[name] else scores[name] for name in measured)
    return Score(label, total / len(measured), False)


def unmeasurable_notes(info: ModelInfo, val: MixedData, monitor: str | None) -> list[str]:
    """Notes before a run about branches without labeled validation images.

    Args:
        monitor: the metric that selects the best weights; None for the mean of the branches' main metrics.
    """
    empty = [name for name in info.branches if not val.measurable(name)]
    notes = [unlabeled_note(name) for name in empty]
    unscored = set(empty) >= ({monitor.partition("/")[0]} if monitor else set(info.branches))
    if unscored and not (monitor or "").endswith("/loss"):
        notes[-1] += "; the newest weights are kept"
    return notes


def unlabeled_note(branch: str) -> str:
    """The note about a branch without labeled images to evaluate on."""
    return f"no image has anything labeled for branch '{branch}' to find, so its metrics cannot be measured"


@dataclass
class BestWeights:
    """The best weights so far; the newest ones while no evaluation has had a score.

    Attributes:
        best: their score; None if they have none.
        epoch: the epoch after which they were evaluated, from 1; None before the first evaluation.
        scores: all metrics of that evaluation.
        without_better: number of evaluations with a score since then.
    """

    best: Score | None = None
    epoch: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    without_better: int = 0

    def update(self, epoch: int, score: Score | None, scores: Mapping[str, float], model: nn.Module) -> str | None:
        """Replaces the best weights by those of an evaluation if they are better; then `epoch` is that of the evaluation.

        Args:
            epoch: the epoch of the evaluation, from 1.
            score: its score; None if it has none.
            scores: all of its metrics.
            model: has the weights, which are not used if one is not finite.

        Returns:
            A note for the user, or None.
        """
        broken = nonfinite_tensor(model)
        known = score is not None and math.isfinite(score.value)
        better = broken is None and (self._is_better(score) if score is not None and known else self.best is None)
        if better:
            self.best, self.epoch, self.scores = score if known else None, epoch, dict(scores)
        if better and known:
            self.without_better = 0
        elif score is not None or broken is not None:
            self.without_better += 1
        if broken is not None:
            return f"the weights are not kept: '{broken}' has values that are not finite"
        if not known:
            reason = "no score could be measured" if score is None else f"{score.name} is not finite"
            return f"{reason}; {'the newest weights are kept' if better else 'the best weights so far stay'}"
        return None

    def _is_better(self, score: Score) -> bool:
        if self.best is None:
            return True
        return score.value < self.best.value if score.lower_is_better else score.value > self.best.value

    def summary(self) -> str:
        """The best weights in a few words."""
        if self.best is None:
            return f"kept the weights of epoch {self.epoch} (no evaluation had a score)"
        note = ", lower is better" if self.best.lower_is_better else ""
        return f"best {self.best.name} {self.best.value:.4f} (epoch {self.epoch}{note})"

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; a number that is not finite is null."""
        scores = {name: value if math.isfinite(value) else None for name, value in self.scores.items()}
        return {"epoch": self.epoch, "best": None if self.best is None else asdict(self.best), "scores": scores}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BestWeights:
        """From the values of `state_dict`."""
        return cls(**{**state, "best": None if state["best"] is None else Score(**state["best"])})


def nonfinite_tensor(module: nn.Module) -> str | None:
    """The first weight or buffer with a value that is not finite; None if all are."""
    named = [(name, value) for name, value in module.state_dict().items() if value.is_floating_point()]
    if not named:
        return None
    total = torch.nn.utils.get_total_norm([value for _, value in named], norm_type=1.0)
    if bool(total.isfinite()):
        return None
    return next((name for name, value in named if not bool(value.isfinite().all())), None)
