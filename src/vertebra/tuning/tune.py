"""Tuning: trial runs with other options and parts, and the config of the best one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import yaml

from vertebra.config import Config, read_raw
from vertebra.errors import ConfigError, RunError, RunStopped, VertebraError, first_line
from vertebra.files import FileLock
from vertebra.messages import emit
from vertebra.training.data_paths import with_absolute_paths
from vertebra.training.folder import free_folder
from vertebra.training.hardware import check_hardware
from vertebra.tuning.options import Tuned, TuneOptions
from vertebra.tuning.runners import Runner, process_runner, ray_runner
from vertebra.tuning.search_space import SearchSpace, changed, default_space
from vertebra.tuning.study import RUNS, STUDY, TUNE, TuneStudy, check_optuna, write_text
from vertebra.tuning.trial_run import TrialJob, run_trial, single_device

LOCK = "tune.lock"
SPACE = "tune"  # the section of a config with the search space


def tune(
    raw: Mapping[str, Any],
    *,
    space: Mapping[str, Any] | None = None,
    out: Path | None = None,
    options: TuneOptions | None = None,
    run: Runner | None = None,
) -> Tuned:
    """Searches for the best options of a config by trial runs.

    The first trial has the config's values, so the best one is at least as good. Scores are those of the metric
    ``train.monitor`` on the validation data.

    Args:
        raw: the config as plain values; its section ``tune`` is the search space, if ``space`` is None.
        space: see `vertebra.tuning.search_space.SearchSpace`; None without a section: `default_space` of the config.
        out: the new tune folder; by default ``runs/tune``, with a number if that exists.
        options: by default those of `TuneOptions`.
        run: runs a trial, in place of training; for tests.

    Raises:
        VertebraError: an option, the config or the space is wrong, the first trial fails, or all trials fail.
    """
    options = options or TuneOptions()
    options.check()
    check_optuna()
    raw = dict(raw)
    section = raw.pop(SPACE, None)
    if section is not None and space is not None:
        raise ConfigError("the config has a section 'tune', and a search space is given, too; leave one out")
    space = section if space is None else space
    if space is not None and not isinstance(space, Mapping):
        raise ConfigError("tune: the search space is a mapping, such as train.lr: {low: 0.0001, high: 0.01, log: true}")
    raw = single_device(raw)
    config = Config.from_raw(raw)
    if space is None:
        space = default_space(config)
        emit(f"search space (none is given): {', '.join(space)}")
    SearchSpace(space).check(raw)
    folder = free_folder(Path("runs") / "tune") if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        hint = ", or continue it: --resume" if (folder / STUDY).exists() else ""
        raise RunError(f"{folder} exists; choose another folder: --out{hint}")
    folder.mkdir(parents=True, exist_ok=True)
    raw["data"] = with_absolute_paths(config).model_dump(mode="json", exclude_defaults=True)["data"]
    stored = {"config": raw, "space": dict(space)}
    write_text(folder / TUNE, yaml.safe_dump(stored, sort_keys=False, allow_unicode=True))
    try:
        return _Tuner(folder, raw, SearchSpace(space), options).go_on(run)
    except VertebraError:
        if not (folder / RUNS).exists():  # no trial has begun to train
            shutil.rmtree(folder)
        raise


def resume_tuning(folder: Path, *, options: TuneOptions | None = None, run: Runner | None = None) -> Tuned:
    """Goes on with tuning: trials that were stopped are repeated, and new ones follow.

    Args:
        folder: the tune folder.
        options: as for `tune`.
        run: as for `tune`.

    Raises:
        RunError: it is no tune folder, or it is damaged.
        VertebraError: as of `tune`.
    """
    options = options or TuneOptions()
    options.check()
    check_optuna()
    if not (folder / TUNE).is_file():
        raise RunError(f"{folder} is no tune folder (it has no {TUNE})")
    stored = read_raw(folder / TUNE)
    if not all(isinstance(stored.get(name), dict) for name in ("config", "space")):
        raise RunError(f"{folder / TUNE}: damaged; start in another folder")
    return _Tuner(folder, stored["config"], SearchSpace(stored["space"]), options).go_on(run)


class _Tuner:
    """Runs the trials of a study.

    Args:
        folder: the tune folder.
        raw: the config that the trials change.
        space: of the changes.
        options: of tuning.
    """

    def __init__(self, folder: Path, raw: Mapping[str, Any], space: SearchSpace, options: TuneOptions) -> None:
        self.raw, self.space, self.options = raw, space, options
        self.config = Config.from_raw(raw, str(folder / TUNE))
        hardware = check_hardware(self.config.train)
        if hardware.processes * self.config.train.num_nodes > 1:
            raise ConfigError(
                "train.devices: each trial has one device; use several by trials at a time: jobs (--jobs)"
            )
        self.study = TuneStudy(folder, pruner=options.pruner, seed=options.seed, jobs=options.jobs or 1)
        self._lock = Lock()
        self._error: BaseException | None = None
        self._began = 0
        self._deadline = None if options.seconds is None else time.monotonic() + options.seconds

    def go_on(self, run: Runner | None) -> Tuned:
        """Runs trials until there are enough of them, or the time is over; see `tune`.

        Raises:
            RunError: another process works on the same study.
        """
        with closing(FileLock(self.study.folder / LOCK, self.study.folder / STUDY)):
            return self._go_on(run)

    def _go_on(self, run: Runner | None) -> Tuned:
        study = self.study
        repeated = study.repeat_unfinished()
        if repeated:
            emit(f"repeated, because they did not end: trial {', '.join(map(str, repeated))}")
        if not study.study.trials:
            study.study.enqueue_trial(self.space.values_of(self.config))
        left = self.options.trials - study.finished_count()
        with self._runner(run) as (runner, jobs):
            if jobs == 1:
                self._work(runner, left)
            else:
                self._work_in_threads(runner, jobs, left)
        if self._error is not None:
            raise self._error
        trials, best = study.summaries(), study.best_trial()
        if best is None and trials and all(trial.state == "failed" for trial in trials):
            raise RunError(f"{study.folder}: all {len(trials)} trials failed; the last: {trials[-1].reason}")
        return Tuned(study.folder, trials, best)

    def _work_in_threads(self, runner: Runner, jobs: int, left: int) -> None:
        threads = ThreadPoolExecutor(jobs)
        try:
            list(threads.map(lambda _: self._work(runner, left), range(jobs)))
        except BaseException as error:  # a signal: the runner stops its trials
            self._error = error
            raise
        finally:
            threads.shutdown(wait=False)

    @contextmanager
    def _runner(self, run: Runner | None) -> Iterator[tuple[Runner, int]]:
        """Where trials run, and how many at a time."""
        jobs = self.options.jobs
        if run is not None:
            yield run, jobs or 1
        elif self.options.ray is not None:
            with ray_runner(self.options.ray, jobs) as (on_ray, workers):
                yield on_ray, workers
        elif jobs in (None, 1):
            yield run_trial, 1
        else:
            with process_runner(int(jobs or 1)) as in_processes:
                yield in_processes, int(jobs or 1)

    def _work(self, runner: Runner, left: int) -> None:
        """Runs one trial after the other, also in one of several threads."""
        while True:
            with self._lock:
                if self._began >= left or self._error is not None or self._is_over():
                    return
                self._began += 1
                trial = self.study.study.ask()
            try:
                self._run_one(trial, runner)
            except BaseException as error:
                self._error = self._error or error
                return

    def _run_one(self, trial: Any, runner: Runner) -> None:
        """Runs a trial and stores its outcome.

        Raises:
            VertebraError: the trial was stopped by a signal, or it is the first one and failed.
        """
        values = self.space.draw(trial)
        trial.set_user_attr("values", values)
        try:
            job = TrialJob(trial.number, self._complete(values), self.study.run_folder(trial.number).absolute())
            outcome = runner(job, self._reporter(trial))
        except RunStopped:
            self.study.tell_failed(trial, "stopped by a signal", stopped=True)
            raise
        except VertebraError as error:
            with self._lock:
                self.study.tell_failed(trial, first_line(error), stopped=self._error is not None)
                self._end(trial)
            if trial.number == 0:
                raise  # with the config's own values
            return
        with self._lock:
            self.study.tell(trial, outcome)
            self._end(trial)

    def _complete(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's config, with absolute paths."""
        config = with_absolute_paths(Config.from_raw(changed(self.raw, values)))
        plain: dict[str, Any] = config.model_dump(mode="json")
        return plain

    def _reporter(self, trial: Any) -> Any:
        def report(epoch: int, score: float) -> bool:
            trial.report(score, epoch)
            if self._is_over() and self.study.best_trial() is not None:
                self.study.note_reason(trial, "the time is over")
                return True
            if trial.should_prune():
                self.study.note_reason(trial, f"pruned after epoch {epoch}")
                return True
            return False

        return report

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _end(self, trial: Any) -> None:
        """Prints a trial that has ended, and writes the results so far."""
        summary = next(summary for summary in self.study.summaries() if summary.number == trial.number)
        emit(summary.text())
        self.study.write_results(self.raw)
