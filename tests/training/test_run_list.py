"""The list of runs: finished, at work, stopped, failed, killed, and damaged ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import vertebra
from vertebra.cli.main import main
from vertebra.errors import RunError, UnknownName
from vertebra.training.process_id import is_alive, this_process
from vertebra.training.run_list import RunSummary, list_runs

CONFIG = """
data: {train: [{path: /data/cells, branches: null}, {path: /data/more}], val: []}
model:
  backbone: {name: resnet18, pretrained: true}
  branches: {boxes: {task: detect, decoder: {name: fcos}, neck: {name: fpn}}}
train: {epochs: 9, monitor: null, save_every_minutes: 10.0}
"""
NO_PROCESS = {**this_process(), "pid": 4_000_000, "started": "never"}


def write_run(folder: Path, day: int, *, config: str = CONFIG, rows: str = "", **values: Any) -> Path:
    """A run folder as training leaves it, without weights.

    Args:
        folder: of the run.
        day: of its start.
        config: content of ``config.yaml``.
        rows: content of ``metrics.csv``; none if empty.
        values: of its last start, or ``kept``.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    kept = {"kept": values.pop("kept")} if "kept" in values else {}
    start = {"date": f"2026-01-{day:02}T10:00:00+00:00", **values}
    record = {"folder": str(folder), "data": {}, "starts": [start], "lower_is_better": ["boxes/loss"], **kept}
    (folder / "run.json").write_text(json.dumps(record))
    if rows:
        (folder / "metrics.csv").write_text(rows)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of all states."""
    root = tmp_path_factory.mktemp("runs")
    scores = {"boxes/map": 0.5, "boxes/map_50": 0.75, "boxes/loss": 1.5, "boxes/map/dog": 0.25, "boxes/map_small": None}
    write_run(root / "done", 1, kept={"epoch": 7, "scores": scores}, rows="epoch,seconds\n1,60\n2,130\n")
    (root / "done" / "model.safetensors").touch()
    rows = "epoch,seconds,boxes/map,boxes/loss\n1,10,0.25,3\n2,20,0.375,4\n3,30,0.125,2\n"
    write_run(root / "deep" / "er" / "at_work", 2, process=this_process(), rows=rows)
    write_run(root / "stopped", 3, process=NO_PROCESS, end={"state": "stopped"})
    write_run(root / "failed", 4, process=NO_PROCESS, end={"state": "failed", "reason": "out of memory"})
    write_run(root / "killed", 5, process=NO_PROCESS)
    write_run(root / "elsewhere", 6, process={"host": "node7", "pid": 1})
    silent = write_run(root / "silent", 7, process={"host": "node7", "pid": 1})
    for file in silent.iterdir():
        os.utime(file, (time.time() - 1000, time.time() - 1000))
    write_run(root / "half_config", 8, config="data: {train: [{path: x}]}\n", process=NO_PROCESS)
    write_run(root / "no_yaml", 9, config="a: [", process=NO_PROCESS)
    other_task = CONFIG.replace("detect", "track")
    write_run(root / "other_task", 10, config=other_task, rows="epoch,boxes/hota\n1,1\n", process=NO_PROCESS)
    write_run(root / "half_table", 11, rows="epoch,seconds\n1,6,7\n", process=NO_PROCESS)
    write_run(root / "no_weights", 12, kept={"epoch": 7, "scores": scores})
    write_run(root / "half_kept", 13, kept={"epoch": 7})
    (write_run(root / "half_record", 14) / "run.json").write_text('{"folder": ')
    (write_run(root / "no_record", 15, rows="epoch\n1\n") / "run.json").unlink()
    (root / "notes").mkdir()
    (root / "notes" / "config.yaml").write_text("no: run\n")
    (root / ".hidden").mkdir()
    return root


def by_name(folder: Path) -> dict[str, RunSummary]:
    return {run.folder.name: run for run in list_runs(folder)}


def test_states_and_what_is_wrong(folder: Path) -> None:
    runs = by_name(folder)
    states = {name: run.state for name, run in runs.items()}
    damaged = (
        "half_config",
        "no_yaml",
        "half_table",
        "no_weights",
        "half_kept",
        "half_record",
        "no_record",
    )
    assert states == {
        "done": "finished", "at_work": "running", "stopped": "stopped", "failed": "failed", "killed": "failed",
        "elsewhere": "running", "silent": "failed", "other_task": "failed", **dict.fromkeys(damaged, "damaged"),
    }  # fmt: skip
    reasons = {name: run.reason for name, run in runs.items()}
    assert reasons["failed"] == "out of memory" and not reasons["stopped"] and not reasons["at_work"]
    assert reasons["killed"] == "its process ended before the run was finished; it may have been killed"
    assert reasons["half_config"] == "config.yaml: not the config of a run"
    assert reasons["no_yaml"].startswith("config.yaml: while parsing")
    assert reasons["half_table"] == "metrics.csv: metrics.csv has a row that is longer than its head"
    assert reasons["no_weights"] == "model.safetensors: missing"
    assert reasons["half_kept"] == "model.safetensors: missing; run.json: 'scores'"
    assert "run.json: damaged" in reasons["half_record"] and reasons["no_record"] == "run.json: missing"
    assert runs["half_record"].backbone == "resnet18", "the rest is read"


def test_what_a_run_has(folder: Path) -> None:
    runs = by_name(folder)
    done, at_work = runs["done"], runs["at_work"]
    assert (done.epoch, done.epochs_done, done.epochs, done.seconds) == (7, 2, 9, 130)
    assert done.metric("boxes/map") == done.metric("map") == 0.5 and done.metric("map_small") is None
    assert (done.backbone, done.decoders, done.data) == ("resnet18", {"boxes": "fcos"}, ("/data/cells", "/data/more"))
    assert done.headline == ("boxes/map", "boxes/map_50")
    assert at_work.epoch == 2 and at_work.metrics == {"boxes/map": 0.375, "boxes/loss": 4}, "the best so far"
    assert runs["other_task"].epochs_done == 1 and not runs["other_task"].headline, "of a package that is not installed"
    assert runs["stopped"].epoch is None and runs["stopped"].metrics == {}


def test_order(folder: Path, tmp_path: Path) -> None:
    newest = [run.folder.name for run in list_runs(folder)]
    assert newest[:2] == ["half_kept", "no_weights"]
    assert newest[-5:] == ["stopped", "at_work", "done", "half_record", "no_record"], "without a date: last"
    assert [run.folder.name for run in list_runs(folder, sort="boxes/map")][:3] == ["no_weights", "done", "at_work"]
    assert [run.folder.name for run in list_runs(folder, sort="loss")][:3] == ["no_weights", "done", "at_work"]
    with pytest.raises(UnknownName, match="unknown metric 'map_5'. Did you mean 'boxes/map_50'"):
        list_runs(folder, sort="map_5")
    with pytest.raises(RunError, match="is no folder; give the folder that your runs are in"):
        list_runs(folder / "done" / "run.json")
    assert list_runs(tmp_path) == [] == list_runs(tmp_path, sort="map")


def test_a_real_run_on_the_command_line(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "mine")
    write_run(tmp_path / "runs" / "failed", 4, process=NO_PROCESS, end={"state": "failed", "reason": "out of memory"})
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["vertebra", "runs", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    (mine, failed) = json.loads(call("--json"))
    run = vertebra.Run(finished)
    assert mine["metrics"] == run.metrics and mine["epoch"] == run.epoch and mine["state"] == "finished"
    assert (
        mine["lower_is_better"] == ["animal/loss", "boxes/loss", "regions/loss"] and failed["reason"] == "out of memory"
    )
    head, first, second, reason = call().splitlines()
    assert head.split()[:3] == ["run", "state", "epochs"] and reason == "    out of memory"
    metrics = (
        f"animal/accuracy {run.metrics['animal/accuracy']:.4f}, boxes/map {run.metrics['boxes/map']:.4f}, boxes/map_50"
    )
    assert first.startswith("mine    finished  2/2     ") and metrics in first
    assert "mobilenetv2_035 + linear, fcos, upsample  animals, boxes, regions  20" in first
    assert second.startswith("failed  failed    0/9")
    assert (
        call("runs/mine", "--sort", "regions/iou/background")
        .splitlines()[1]
        .partition("  ")[2]
        .lstrip()
        .startswith("finished")
    )


def test_a_process_is_known_by_its_start() -> None:
    process = this_process()
    assert is_alive(process) is True and is_alive({**process, "host": "node7"}) is None and is_alive({}) is None
    if process["started"] is not None:
        assert is_alive({**process, "started": "another boot 17"}) is False, "another process has its number"
    ended = subprocess.run(
        [sys.executable, "-c", "from vertebra.training.process_id import this_process as p; import json; print(json.dumps(p()))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert is_alive(json.loads(ended.stdout)) is False
    assert is_alive({**json.loads(ended.stdout), "started": None}) is False


def test_listing_loads_no_torch() -> None:
    code = "import sys, vertebra; vertebra.list_runs('.'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
