"""A whole run: train, stop, resume, load, evaluate, predict."""

from __future__ import annotations

import copy
import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import vertebra
from vertebra.errors import ConfigError, DataError, RunError, UnknownName
from vertebra.training import run as running
from vertebra.training.folder import Interrupted, RunFolder, free_folder
from vertebra.training.metrics_table import read_history


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def test_a_run_is_a_folder_that_explains_itself(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        "config.yaml", "model.safetensors", "last.ckpt", "previous.ckpt", "metrics.csv", "metrics_by_class.csv", "report.html",
        "run.json",
    }  # fmt: skip
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["model"]["branches"]["regions"]["classes"][0] == "background", "classes come from the data"
    assert config["train"]["resize"] == "letterbox"
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for column in ("train/boxes/box", "animal/accuracy", "boxes/map", "regions/mean_iou", "regions/loss"):
        assert rows[-1][column] != ""
    page = (finished / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    for words in (
        "Branch animal on val",
        "Branch boxes on val",
        "Branch regions on val",
        "Worst images",
        "What the network saw",
    ):
        assert words in page


def test_a_run_is_never_overwritten(finished: Path, three_branches: dict[str, Any]) -> None:
    before = (finished / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"a run is never overwritten; choose another folder: .*--out.*vertebra\.resume"):
        vertebra.train(three_branches, out=finished)
    assert (finished / "model.safetensors").read_bytes() == before
    assert free_folder(finished) == finished.with_name("whole-2")


@pytest.mark.parametrize("stop_after", [5, 6])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(
    finished: Path, three_branches: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    original = RunFolder.on_train_batch_end

    def stop(self: RunFolder, trainer: Any, *arguments: Any) -> None:
        self.stop.number = signal.SIGINT if trainer.global_step == stop_after else None
        original(self, trainer, *arguments)

    monkeypatch.setattr(RunFolder, "on_train_batch_end", stop)
    with pytest.raises(RunError, match="everything is saved. Continue with: vertebra train --resume"):
        vertebra.train(three_branches, out=tmp_path / "stopped")
    monkeypatch.undo()
    running.resume_run(tmp_path / "stopped")
    whole, resumed = (torch.load(run / "last.ckpt", weights_only=True) for run in (finished, tmp_path / "stopped"))
    assert whole["global_step"] == resumed["global_step"] == 12
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    for name, value in weights(finished).items():
        assert torch.equal(value, weights(tmp_path / "stopped")[name]), name


def test_any_number_of_workers_gives_the_same_run(
    finished: Path, three_branches: dict[str, Any], tmp_path: Path
) -> None:
    config = copy.deepcopy(three_branches)
    config["train"]["workers"] = 2
    run = vertebra.train(config, out=tmp_path / "workers")
    for name, value in weights(finished).items():
        assert torch.equal(value, weights(run)[name]), name


def test_what_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        running.resume_run(tmp_path)
    (tmp_path / "config.yaml").write_text("data: x\n")
    with pytest.raises(RunError, match="stopped before its first save"):
        running.resume_run(tmp_path)


def test_the_model_file_alone_predicts_the_same_to_the_bit(finished: Path, scenes: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((finished / "model.safetensors").read_bytes())
    files = sorted((scenes / "boxes" / "JPEGImages").glob("*.png"))[:3]
    for left, right in zip(vertebra.load(finished).predict(files), vertebra.load(alone).predict(files), strict=True):
        assert left.to_dict() == right.to_dict()
        assert np.array_equal(left["regions"].mask, right["regions"].mask)


def test_evaluate_gives_every_branch_its_metrics(finished: Path) -> None:
    scores = vertebra.evaluate(finished, split="test")
    assert {"animal/accuracy", "boxes/map_50", "regions/mean_iou"} <= set(scores)
    for batch_size in (1, 2, 3):
        again = vertebra.evaluate(finished, split="test", batch_size=batch_size)
        assert again == pytest.approx(scores, rel=1e-5), (
            "losses too are of all images, however they are put into batches"
        )
    with pytest.raises(DataError, match="split 'tset' does not exist"):
        vertebra.evaluate(finished, split="tset")


def test_a_model_file_without_its_run_needs_data(finished: Path, scenes: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((finished / "model.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=r"name a data set: data=\.\.\. \(--data\)"):
        vertebra.evaluate(alone)


def test_a_metric_that_does_not_exist_is_refused_before_the_first_batch(
    three_branches: dict[str, Any], tmp_path: Path
) -> None:
    config = copy.deepcopy(three_branches)
    for given, meant in (
        ("boxes/mapp", "boxes/map"),
        ("mean_iou", "regions/mean_iou"),
        ("animal/acuracy", "animal/accuracy"),
    ):
        config["train"] |= {"monitor": given, "epochs": 1}
        with pytest.raises(UnknownName, match=f"metric for 'train.monitor': '{given}'. Did you mean '{meant}'"):
            vertebra.train(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_last_epoch_is_always_evaluated(three_branches: dict[str, Any], tmp_path: Path) -> None:
    config = copy.deepcopy(three_branches)
    config["train"].update(epochs=3, evaluate_every=2)
    run = vertebra.train(config, out=tmp_path / "run")
    with (run / "metrics.csv").open() as file:
        assert [bool(row["animal/accuracy"]) for row in csv.DictReader(file)] == [False, True, True]


def test_patience_ends_a_run_that_gets_no_better(three_branches: dict[str, Any], tmp_path: Path) -> None:
    config = copy.deepcopy(three_branches)
    config["train"] |= {"epochs": 6, "patience": 1, "lr": 1e-12}
    run = vertebra.train(config, out=tmp_path / "run")
    with (run / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) < 6


def test_interruption_is_no_error_of_the_house() -> None:
    assert not issubclass(Interrupted, vertebra.VertebraError)


def test_two_processes_train_as_one_does(three_branches: dict[str, Any], tmp_path: Path) -> None:
    """Lightning starts the second process itself; it must take the first one's folder, and write nothing of its own.

    Losses and metrics are those of one process with batches of twice the size, where no norm has statistics of a batch.
    """
    config = copy.deepcopy(three_branches)
    config["model"]["backbone"] = {"name": "mobilenetv2_035", "frozen_norm": True}
    config["model"]["branches"]["animal"]["decoder"] = {"name": "linear", "dropout": 0.0}
    config["model"]["branches"]["regions"] = {"neck": "fpn", "decoder": {"name": "fpn", "dropout": 0.0}}
    config["train"].update(augment="none", epochs=2, evaluate_every=1, accelerator="cpu", devices=2)
    (tmp_path / "farm.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "runs" / "animal" / "older").mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("vertebra")), "train", "farm.yaml"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["animal", "animal-2"]
    assert ended.stderr.count("run folder runs/animal-2") == 1
    vertebra.load(tmp_path / "runs" / "animal-2")
    config["train"].update(batch_size=12, devices=1)
    one = vertebra.train(config, out=tmp_path / "one").history
    two = read_history(tmp_path / "runs" / "animal-2")
    compared = [name for name in one[0] if name.startswith(("train/", "animal/", "boxes/", "regions/"))]
    assert len(compared) > 20 and any(name.endswith("/loss") for name in compared)
    for alone, shared in zip(one, two, strict=True):
        assert {name: shared[name] for name in compared} == pytest.approx(
            {name: alone[name] for name in compared}, rel=1e-3, abs=1e-4
        )
