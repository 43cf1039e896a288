"""Tuning: the search space, trials, pruning, going on, and the result."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import vertebra
from vertebra.cli.main import app
from vertebra.cli.tune import _seconds
from vertebra.config import Config
from vertebra.errors import ConfigError, RunError, RunStopped, UnknownName
from vertebra.recipe.defaults import BACKBONE_LR
from vertebra.training.selection import Score
from vertebra.tuning.options import TuneOptions
from vertebra.tuning.runners import _serve
from vertebra.tuning.search_space import SearchSpace, default_space
from vertebra.tuning.trial_run import Report, TrialJob, TrialOutcome
from vertebra.tuning.tune import resume_tuning, tune

CONFIG: dict[str, Any] = {
    "data": "data/boxes",
    "model": {"backbone": "resnet10t", "neck": "fpn", "decoder": "fcos"},
    "train": {"lr": 0.001, "epochs": 6},
}
SPACE = {"train.lr": {"low": 0.0001, "high": 0.01, "log": True}, "model.decoder": ["fcos", "retinanet"]}


class FakeTraining:
    """A runner that scores a config by its learning rate, without training: more is better.

    Args:
        end: called with the number of a trial before its last epoch.
        trains: whether it makes the run folder.
    """

    def __init__(self, end: Any = None, *, trains: bool = True) -> None:
        self.jobs: list[TrialJob] = []
        self.end = end
        self.trains = trains

    def __call__(self, job: TrialJob, report: Report) -> TrialOutcome:
        self.jobs.append(job)
        if self.trains:
            job.folder.mkdir(parents=True)
        lr = job.raw["train"]["lr"]
        score = Score("boxes/map", lr * 10, False)
        for epoch in range(1, 7):
            if self.end is not None and epoch == 6:
                self.end(job.number)
            if report(epoch, lr * epoch):
                return TrialOutcome(score, epoch, True)
        return TrialOutcome(score, 6, False)


def test_the_first_trial_is_the_config_and_the_best_one_is_written(tmp_path: Path) -> None:
    training = FakeTraining()
    result = tune(CONFIG, space=SPACE, out=tmp_path / "tune", options=TuneOptions(6, pruner="none"), run=training)
    first = training.jobs[0]
    assert first.raw["train"]["lr"] == 0.001 and first.raw["train"]["devices"] == 1
    assert first.raw["data"]["train"][0]["path"] == str(Path("data/boxes").absolute())
    assert [job.folder.name for job in training.jobs] == [f"{number:03d}" for number in range(6)]
    decoders = {job.raw["model"]["branches"]["detect"]["decoder"]["name"] for job in training.jobs}
    assert decoders == {"fcos", "retinanet"}
    best = max(result.trials, key=lambda trial: trial.score or 0)
    assert result.best_trial == best and best.metric == "boxes/map" and best.epoch == 6
    config = yaml.safe_load((tmp_path / "tune" / "best.yaml").read_text())
    assert (
        config["train"]["lr"] == best.values["train.lr"] and config["model"]["decoder"] == best.values["model.decoder"]
    )
    Config.from_raw(config)
    stored = json.loads((tmp_path / "tune" / "trials.json").read_text())
    assert stored["best"] == best.number and len(stored["trials"]) == 6


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path) -> None:
    def stop(number: int) -> None:
        if number == 2:
            raise RunStopped("stopped", 15)

    folder = tmp_path / "tune"
    with pytest.raises(RunStopped):
        tune(CONFIG, space=SPACE, out=folder, options=TuneOptions(5, pruner="none"), run=FakeTraining(stop))
    with pytest.raises(RunError, match="continue it: --resume"):
        tune(CONFIG, space=SPACE, out=folder, run=FakeTraining())
    training = FakeTraining()
    result = resume_tuning(folder, options=TuneOptions(5, pruner="none"), run=training)
    assert [trial.state for trial in result.trials] == ["complete", "complete", "stopped", *["complete"] * 3]
    repeated, stopped = result.trials[3], result.trials[2]
    assert repeated.values == stopped.values and len(training.jobs) == 3, "5 in all"
    assert resume_tuning(folder, options=TuneOptions(5), run=FakeTraining()).best_trial == result.best_trial
    with pytest.raises(RunError, match="is no tune folder"):
        resume_tuning(tmp_path)


def test_bad_trials_are_pruned_and_failed_ones_are_named(tmp_path: Path) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise RunError("out of memory")

    options = TuneOptions(11, seed=1)
    result = tune(CONFIG, space=SPACE, out=tmp_path / "tune", options=options, run=FakeTraining(fail))
    assert result.trials[1].state == "failed" and result.trials[1].reason == "out of memory"
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned and all(trial.epoch is not None and trial.epoch > 2 and trial.reason for trial in pruned)
    assert result.best_trial is not None and result.best_trial.state == "complete"

    def always(number: int) -> None:
        raise ConfigError("no such data")

    with pytest.raises(ConfigError, match="no such data"):
        tune(CONFIG, space=SPACE, out=tmp_path / "wrong", run=FakeTraining(always, trains=False))
    assert not (tmp_path / "wrong").exists()


def test_two_trials_at_a_time_are_each_done_once(tmp_path: Path) -> None:
    training = FakeTraining()
    options = TuneOptions(4, jobs=2, pruner="none")
    result = tune(CONFIG, space=SPACE, out=tmp_path / "tune", options=options, run=training)
    assert [trial.state for trial in result.trials] == ["complete"] * 4
    assert sorted(job.folder.name for job in training.jobs) == ["000", "001", "002", "003"]


def test_the_time_is_a_limit(tmp_path: Path) -> None:
    result = tune(CONFIG, space=SPACE, out=tmp_path / "tune", options=TuneOptions(100, 1e-9), run=FakeTraining())
    assert result.trials == [] and result.best_trial is None


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "the search space is empty"),
        ({"train.lr": 0.1}, "must be a list of choices, or a range"),
        ({"train.lr": {"low": 1, "high": 1}}, "tune.train.lr: low must be less than high"),
        ({"train.lr": {"low": 0, "high": 1, "log": True}}, "with log, low must be above 0"),
        ({"train.lr": {"low": 0.1, "hihg": 1}}, "tune.train.lr.hihg.*Did you mean 'high'"),
        ({"train.lrr": [0.1]}, "tune.train.lrr: 0.1: .*Did you mean 'lr'"),
        ({"train.batch_size": [8, "many"]}, 'tune.train.batch_size: "many": .*whole number'),
    ],
)
def test_a_wrong_space_is_refused_before_the_first_trial(space: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        tune({**CONFIG, "tune": space}, out=tmp_path / "tune", run=FakeTraining())
    assert not (tmp_path / "tune").exists()


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    for options, message in ((TuneOptions(0), "trials must be above 0"), (TuneOptions(jobs=0), "jobs must be above 0")):
        with pytest.raises(ConfigError, match=message):
            tune(CONFIG, space=SPACE, out=tmp_path / "tune", options=options)
    with pytest.raises(UnknownName, match="median"):
        tune(CONFIG, space=SPACE, out=tmp_path / "tune", options=TuneOptions(pruner="medain"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="leave one out"):
        tune({**CONFIG, "tune": SPACE}, space=SPACE, out=tmp_path / "tune")
    assert not (tmp_path / "tune").exists()
    assert _seconds("1h30m") == 5400
    with pytest.raises(ConfigError, match="--budget: '2 weeks' is no duration; write 20m, 1h30m"):
        _seconds("2 weeks")
    several = {**CONFIG, "train": {"devices": 2, "accelerator": "cpu"}}
    with pytest.raises(ConfigError, match="each trial has one device"):
        tune(several, space=SPACE, out=tmp_path / "tune")


def test_the_default_space_has_the_values_of_the_config() -> None:
    config = Config.from_raw(
        {**CONFIG, "model": {**CONFIG["model"], "backbone": {"name": "resnet10t", "pretrained": True}}}
    )
    space = SearchSpace(default_space(config))
    assert set(space.raw) == {
        "train.lr", "train.weight_decay", "train.augment", "train.backbone_lr", "train.freeze_backbone",
    }  # fmt: skip
    values = space.values_of(config)
    assert set(values) == set(space.raw), "so that the first trial is the config's own"
    assert values["train.backbone_lr"] == BACKBONE_LR and values["train.freeze_backbone"] is None, (
        "as a run chooses them"
    )


def test_scores_of_another_process_are_answered() -> None:
    here, there = multiprocessing.Pipe()
    outcome = TrialOutcome(Score("boxes/map", 0.5, False), 2, True)
    for message in (("score", (1, 0.4)), ("score", (2, 0.5)), ("outcome", tuple(outcome))):
        there.send(message)
    assert _serve(here, lambda epoch, score: score > 0.45) == outcome
    assert [there.recv(), there.recv()] == [False, True]
    there.send(("error", RunError("out of memory")))
    with pytest.raises(RunError, match="out of memory"):
        _serve(here, lambda epoch, score: False)
    there.close()
    with pytest.raises(EOFError):
        _serve(here, lambda epoch, score: False)


def test_choices_may_be_lists_and_mappings() -> None:
    class FirstChoice:
        def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
            assert all(isinstance(choice, str) for choice in choices), "Optuna stores plain values only"
            return choices[0]

    choices = [[320, 416], [256, 320]]
    assert SearchSpace({"train.image_size": choices}).draw(FirstChoice()) == {"train.image_size": [320, 416]}


def test_two_short_trials_train_models(scenes: Path, tmp_path: Path) -> None:
    config = {
        "data": {"path": str(scenes / "animals")},
        "model": {"backbone": "resnet10t", "decoder": "linear"},
        "train": {"epochs": 1, "batch_size": 6, "image_size": 32, "workers": 0, "precision": "32", "augment": "none"},
        "tune": {"train.lr": [0.001, 0.002]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    words = ["tune", str(tmp_path / "config.yaml"), "--trials", "2", "--out", str(tmp_path / "tune"), "--json"]
    ended = CliRunner().invoke(app, words, catch_exceptions=False)
    assert ended.exit_code == 0
    content = json.loads(ended.stdout)
    assert [trial["state"] for trial in content["trials"]] == ["complete", "complete"]
    assert content["trials"][0]["metric"] == "classify/accuracy" and 0 <= content["trials"][0]["score"] <= 1
    vertebra.load(content["trials"][content["best"]]["folder"])
