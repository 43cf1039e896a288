"""The trials of tuning, in an Optuna study that is stored in the tune folder."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from vertebra.errors import ConfigError, RunError, first_line, install_command
from vertebra.files import replacing
from vertebra.training.durations import duration_text
from vertebra.tuning.search_space import changed
from vertebra.tuning.trial_run import TrialOutcome

STUDY = "study.db"
TUNE = "tune.yaml"
BEST_CONFIG = "best.yaml"
TRIALS = "trials.json"
RUNS = "trials"
RANDOM_TRIALS = 5  # at the beginning, before the sampler learns from the scores
FIRST_PRUNING = 3  # the epoch after which the median may stop a trial
PRUNERS = ("median", "hyperband", "none")
PrunerName = Literal["median", "hyperband", "none"]


@dataclass(frozen=True)
class TrialSummary:
    """A trial of tuning.

    Attributes:
        number: of the trial, from 0.
        state: "complete"; "pruned", stopped early; "failed"; "stopped", by a signal or with its process; "running".
        values: of the options, by key.
        metric: the name of the score; "" without one.
        score: the best of its evaluations; None without one.
        epoch: of that evaluation, from 1.
        seconds: that it took.
        folder: its run folder.
        reason: why it failed or was pruned; "" otherwise.
    """

    number: int
    state: str
    values: dict[str, Any] = field(default_factory=dict)
    metric: str = ""
    score: float | None = None
    epoch: int | None = None
    seconds: float | None = None
    folder: str = ""
    reason: str = ""

    def text(self) -> str:
        """The trial in one line."""
        score = f"{self.metric} {self.score:.4f} (epoch {self.epoch})" if self.score is not None else self.reason
        values = ", ".join(f"{key} {_short(value)}" for key, value in self.values.items())
        time = "" if self.seconds is None else duration_text(self.seconds)
        return "  ".join(filter(None, [f"trial {self.number}: {self.state}", score, time, values]))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class TuneStudy:
    """The study of a tune folder.

    Args:
        folder: the tune folder, which exists.
        pruner: which trials are stopped early: "median", those whose score is below the median of the earlier trials at the same
            epoch; "hyperband" (Li et al., JMLR 2018, arXiv 1603.06560); or "none".
        seed: of the sampler, a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).
        jobs: trials at a time.

    Raises:
        ConfigError: Optuna is not installed.
        RunError: the study is damaged.
    """

    def __init__(self, folder: Path, *, pruner: PrunerName = "median", seed: int = 0, jobs: int = 1) -> None:
        check_optuna()
        import optuna

        self.optuna: Any = optuna
        self.folder = folder
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = f"sqlite:///{folder / STUDY}"
        try:
            self.study = optuna.create_study(
                study_name="tune",
                storage=storage,
                direction="maximize",
                pruner=self._pruner(pruner),
                load_if_exists=True,
            )
            done = len(self.study.trials)
        except Exception as error:  # of Optuna or its data base, about a file that is damaged or from another version
            raise RunError(
                f"{folder / STUDY}: cannot be used ({first_line(error)}); start in another folder"
            ) from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's advice that an option is new
            self.study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=RANDOM_TRIALS, seed=seed + done, constant_liar=jobs > 1
            )

    def _pruner(self, name: PrunerName) -> Any:
        pruners = self.optuna.pruners
        if name == "median":
            return pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS - 1, n_warmup_steps=FIRST_PRUNING)
        return pruners.HyperbandPruner() if name == "hyperband" else pruners.NopPruner()

    def repeat_unfinished(self) -> list[int]:
        """Plans trials again that were stopped, or whose process ended; returns their numbers."""
        states = self.optuna.trial.TrialState
        trials = self.study.trials
        repeated = {trial.user_attrs.get("repeats") for trial in trials}
        unfinished = []
        for trial in trials:
            if trial.state == states.RUNNING:
                self.study.tell(trial.number, state=states.FAIL)
            elif not (trial.state == states.FAIL and trial.user_attrs.get("stopped")):
                continue
            if trial.number not in repeated:
                self.study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})
                unfinished.append(trial.number)
        return unfinished

    def finished_count(self) -> int:
        """Number of trials that count: those that were stopped are repeated and do not."""
        return sum(summary.state in ("complete", "pruned", "failed") for summary in self.summaries())

    def tell(self, trial: Any, outcome: TrialOutcome) -> None:
        """Stores the outcome of a trial."""
        score = outcome.score
        self._note(trial, metric=score.name, score=score.value, epoch=outcome.epoch, lower=score.lower_is_better)
        states = self.optuna.trial.TrialState
        if outcome.pruned:
            self.study.tell(trial, state=states.PRUNED)
        else:
            self.study.tell(trial, -score.value if score.lower_is_better else score.value)

    def tell_failed(self, trial: Any, reason: str, *, stopped: bool) -> None:
        """Stores that a trial failed, or that it was stopped and is to be repeated."""
        self._note(trial, reason=reason, stopped=stopped)
        self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def note_reason(self, trial: Any, reason: str) -> None:
        """Stores why a trial is pruned."""
        self._note(trial, reason=reason)

    @staticmethod
    def _note(trial: Any, **notes: Any) -> None:
        for name, value in notes.items():
            trial.set_user_attr(name, value)

    def run_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / RUNS / f"{number:03d}"

    def summaries(self) -> list[TrialSummary]:
        """All trials that have begun, in their order."""
        states = self.optuna.trial.TrialState
        words = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.FAIL: "failed", states.RUNNING: "running"}
        repeated = {trial.user_attrs.get("repeats") for trial in self.study.trials}
        summaries = []
        for trial in self.study.trials:
            if trial.state == states.WAITING:
                continue
            notes = trial.user_attrs
            stopped = trial.state == states.FAIL and (notes.get("stopped") or trial.number in repeated)
            summaries.append(
                TrialSummary(
                    trial.number,
                    "stopped" if stopped else words[trial.state],
                    dict(notes.get("values", {})),
                    notes.get("metric", ""),
                    notes.get("score"),
                    notes.get("epoch"),
                    None if trial.duration is None else round(trial.duration.total_seconds(), 1),
                    str(self.run_folder(trial.number)),
                    notes.get("reason", ""),
                )
            )
        return summaries

    def best_trial(self) -> TrialSummary | None:
        """The best of the complete trials; None without any."""
        complete = [summary for summary in self.summaries() if summary.state == "complete"]
        if not complete:
            return None
        return next(summary for summary in complete if summary.number == self.study.best_trial.number)

    def write_results(self, raw: Mapping[str, Any]) -> None:
        """Writes ``trials.json``, and ``best.yaml`` with the config of the best trial.

        Args:
            raw: the config that the trials change.

        Raises:
            RunError: the disk is full.
        """
        best, summaries = self.best_trial(), self.summaries()
        content = {"best": None if best is None else best.number, "trials": [asdict(summary) for summary in summaries]}
        write_text(self.folder / TRIALS, json.dumps(content, indent=2) + "\n")
        if best is not None:
            config = yaml.safe_dump(changed(raw, best.values), sort_keys=False, allow_unicode=True)
            write_text(self.folder / BEST_CONFIG, f"# {best.text()}\n{config}")


def write_text(path: Path, text: str) -> None:
    """Writes a small file atomically.

    Raises:
        RunError: it cannot be written.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def check_optuna() -> None:
    """Checks that Optuna is installed.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError(
            f"tuning needs the package 'optuna', which is not installed; install it: {install_command('tune')}"
        )
