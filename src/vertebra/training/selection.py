"""Which weights a run keeps: those of the evaluation with the best score."""

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
        name: of its metric.
        value: as it was measured.
        lower_is_better: its direction.
    """

    name: str
    value: float
    lower_is_better: bool


def directions(info: ModelInfo) -> dict[str, bool]:
    """All metrics that an evaluation can give, as ``branch/metric``, and whether smaller values are better."""
    known: dict[str, bool] = {}
    for branch, (task, labels) in info.branches.items():
        own = get_task(task).metric(labels).directions()
        known |= {f"{branch}/{name}": lower for name, lower in own.items()} | {f"{branch}/loss": True}
    return known


def check_monitor(info: ModelInfo, best: str | None) -> None:
    """Checks the metric that is to pick the best weights.

    Raises:
        UnknownName: no evaluation of this model gives such a metric; with the nearest right name.
    """
    known = directions(info)
    if best is None or best in known:
        return
    same = [name for name in known if name.partition("/")[2] == best]
    close = [name for name in known if name.count("/") == 1]  # a class's own metrics would hide the nearest one
    raise UnknownName("metric for 'train.monitor':", best, same or close)


def main_score(info: ModelInfo, scores: Mapping[str, float], best: str | None) -> Score | None:
    """The metric of the user's choice, else the mean of the branches' main ones; None where it was not measured.

    In the mean, a metric that is better when it is smaller is negated.
    """
    known = directions(info)
    if best is not None:
        return Score(best, scores[best], known[best]) if best in scores else None
    names = [f"{branch}/{get_task(task).monitor}" for branch, (task, _) in info.branches.items()]
    measured = [name for name in names if name in scores]
    if not measured:
        return None
    if len(names) == 1:
        return Score(measured[0], scores[measured[0]], known[measured[0]])
    label = "mean of " + ", ".join(f"-{name}" if known[name] else name for name in measured)
    total = sum(-scores[name] if known[name] else scores[name] for name in measured)
    return Score(label, total / len(measured), False)


def unmeasurable(info: ModelInfo, val: MixedData, best: str | None) -> list[str]:
    """What cannot be measured on the validation images, said before a run begins.

    Args:
        best: the metric that is to pick the best weights.
    """
    empty = [name for name in info.branches if not val.measurable(name)]
    notes = [nothing_to_find(name) for name in empty]
    unscored = set(empty) >= ({best.partition("/")[0]} if best else set(info.branches))
    if unscored and not (best or "").endswith("/loss"):
        notes[-1] += "; the newest weights are kept"
    return notes


def nothing_to_find(branch: str) -> str:
    """What is said of a branch for which no image that it is measured on is labeled."""
    return f"no image has anything labeled for branch '{branch}' to find, so its metrics cannot be measured"


@dataclass
class Kept:
    """The weights that are kept: the best so far, or the newest while no evaluation has had a score.

    Attributes:
        best: the score of the kept weights; None if they have none.
        epoch: after which they were evaluated, from 1; None while nothing is kept.
        scores: all metrics of that evaluation.
        without_better: scored evaluations since the best one.
    """

    best: Score | None = None
    epoch: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    without_better: int = 0

    def judge(self, epoch: int, score: Score | None, scores: Mapping[str, float], model: nn.Module) -> str | None:
        """Decides whether weights take the place of the kept ones; then `epoch` is theirs.

        Args:
            epoch: after which they were evaluated, from 1.
            score: of that evaluation; None if it has none.
            scores: all of its metrics.
            model: the weights; they are never kept with a number that is not finite.

        Returns:
            What was unusual, for the user.
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
            why = "no score could be measured" if score is None else f"{score.name} is not finite"
            return f"{why}; {'the newest weights are kept' if better else 'the best weights so far stay'}"
        return None

    def _is_better(self, score: Score) -> bool:
        if self.best is None:
            return True
        return score.value < self.best.value if score.lower_is_better else score.value > self.best.value

    def summary(self) -> str:
        """The kept weights in a few words."""
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
    def from_state(cls, state: Mapping[str, Any]) -> Kept:
        """What `state_dict` gave."""
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
