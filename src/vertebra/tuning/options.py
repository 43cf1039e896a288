"""The options and the result of tuning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vertebra.errors import ConfigError, UnknownName
from vertebra.tuning.study import PRUNERS, PrunerName, TrialSummary


@dataclass(frozen=True)
class TuneOptions:
    """How tuning runs.

    Attributes:
        trials: number of trials in all, also of those before tuning was resumed.
        seconds: after which no trial begins, and running ones stop at their next evaluation; None for no limit.
        jobs: trials at a time; None for one, and on Ray for as many as fit.
        pruner: see `vertebra.tuning.study.TuneStudy`.
        seed: of the sampler. All trials train with the seed of the config.
        ray: the address of a Ray cluster, see `vertebra.inference.ray.cluster.connected`; None for this machine.
    """

    trials: int = 20
    seconds: float | None = None
    jobs: int | None = None
    pruner: PrunerName = "median"
    seed: int = 0
    ray: str | None = None

    def check(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is wrong; the message names it.
        """
        for name, value in (("trials", self.trials), ("jobs", self.jobs), ("seconds", self.seconds)):
            if value is not None and value <= 0:
                raise ConfigError(f"{name} must be above 0, got {value}")
        if self.pruner not in PRUNERS:
            raise UnknownName("pruner", self.pruner, PRUNERS)


@dataclass(frozen=True)
class Tuned:
    """The result of tuning.

    Attributes:
        folder: the tune folder, with ``best.yaml``, ``trials.json``, the study and a run folder for each trial.
        trials: all trials.
        best_trial: the best one; None if none was complete.
    """

    folder: Path
    trials: list[TrialSummary]
    best_trial: TrialSummary | None
