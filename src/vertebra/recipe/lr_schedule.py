"""The learning rate over the steps of a run: a linear warm-up, then a schedule by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vertebra.errors import ConfigError, UnknownName
from vertebra.parts import check_options


class LRSchedule(Protocol):
    """The learning rate after the warm-up."""

    def factor(self, progress: float) -> float:
        """The factor of the peak learning rate.

        Args:
            progress: the share of the steps after the warm-up that are done, 0 to 1.
        """


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine (Loshchilov and Hutter, SGDR, ICLR 2017, arXiv 1608.03983; differences: no restarts).

    Attributes:
        end: factor at the end.
    """

    end: float = 0.01

    def __post_init__(self) -> None:
        _check_fraction("end", self.end)

    def factor(self, progress: float) -> float:
        """See `LRSchedule`."""
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A straight line.

    Attributes:
        end: factor at the end.
    """

    end: float = 0.01

    def __post_init__(self) -> None:
        _check_fraction("end", self.end)

    def factor(self, progress: float) -> float:
        """See `LRSchedule`."""
        return 1 + (self.end - 1) * progress


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The peak learning rate to the end."""

    def factor(self, progress: float) -> float:
        """See `LRSchedule`."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Drops at some points of the run.

    Attributes:
        milestones: where, as shares of the steps after the warm-up, ascending.
        gamma: factor of each drop.
    """

    milestones: tuple[float, ...] = (0.67, 0.89)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _check_fraction("gamma", self.gamma)
        points = self.milestones
        if not points or list(points) != sorted(set(points)) or not 0 < points[0] <= points[-1] < 1:
            raise ConfigError(
                f"'train.lr_schedule.milestones' must be ascending numbers between 0 and 1, got {list(points)}"
            )

    def factor(self, progress: float) -> float:
        """See `LRSchedule`."""
        return float(self.gamma ** sum(progress >= milestone for milestone in self.milestones))


SCHEDULES: dict[str, type[Any]] = {"cosine": Cosine, "linear": Linear, "constant": Constant, "step": Step}


def make_schedule(name: str, options: Mapping[str, Any]) -> LRSchedule:
    """The schedule of a name.

    Raises:
        UnknownName: there is no such schedule or option; with the nearest name.
        ConfigError: a value of a wrong type or out of range.
    """
    if name not in SCHEDULES:
        raise UnknownName("learning-rate schedule", name, SCHEDULES)
    kind = SCHEDULES[name]
    schedule: LRSchedule = kind(**check_options(kind, options, "train.lr_schedule"))
    return schedule


def lr_factor(step: float, total: int, warmup: float, schedule: LRSchedule, frozen: int = 0) -> float:
    """The factor of the peak learning rate at a step: a linear rise over the warm-up, then the schedule.

    For parameters that are frozen at first, the rise begins when they are not frozen any more.

    Args:
        step: how many steps are done.
        total: how many there will be.
        warmup: share of all steps in which the rate rises.
        schedule: after the warm-up.
        frozen: in how many of the first steps the parameters are frozen.
    """
    rise = max(1, math.ceil(total * warmup))
    if step < frozen:
        return 0.0
    scheduled = 1.0 if step < rise else schedule.factor(min(1.0, (step - rise) / max(1, total - rise)))
    return min(1.0, (step - frozen + 1) / rise) * scheduled


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"'train.lr_schedule.{name}' must be from 0 to 1, got {value}")
