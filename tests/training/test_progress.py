"""What a run prints while it trains: rates, time left and memory, on a terminal and in a file."""

from __future__ import annotations

import copy
import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import vertebra
from vertebra.tasks import TASKS
from vertebra.testing.synthetic import fake_labels
from vertebra.training import execution, pace, progress
from vertebra.training.durations import duration_text
from vertebra.training.pace import Pace, evaluations_left


@pytest.fixture
def boxes(three_branches: dict[str, Any]) -> dict[str, Any]:
    """A config of two steps an epoch for boxes alone."""
    config = copy.deepcopy(three_branches)
    config["data"]["train"] = config["data"]["train"][1:2]
    config["model"]["branches"] = {"boxes": config["model"]["branches"]["boxes"]}
    return config


def test_lines_in_a_file(
    boxes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    boxes["train"] |= {"epochs": 3, "evaluate_every": 2}
    run = vertebra.train(boxes, out=tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    number, duration = r"\d+\.\d+", r"\d+(\.\d)? (s|min \d\d s)"
    cost = r"  [\d.e+]+ images/s  RAM \d+\.\d GB"
    scores = rf"  boxes/map {number}  boxes/map_50 {number}  boxes/loss {number}"
    expected = [
        rf"epoch 1/3, step 1/2  loss boxes {number}  {duration} left{cost}",
        rf"epoch 1/3  loss boxes {number}  {duration}, {duration} left{cost}",
        rf"epoch 2/3, step 1/2  loss boxes {number}  {duration} left{cost}",
        r"epoch 2/3, evaluation 1/1",
        rf"epoch 2/3{scores}  {duration}, {duration} left{cost}",
        rf"epoch 3/3, step 1/2  loss boxes {number}  {duration} left{cost}",
        r"epoch 3/3, evaluation 1/1",
        rf"epoch 3/3{scores}  {duration}{cost}",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"
    first, second, _ = run.history
    assert first["images_per_second"] > 0 and first["memory/cpu_gb"] > 0.1
    assert first["seconds/evaluation"] == 0 < second["seconds/evaluation"]
    phases = [name for name in second if name.startswith("seconds/")]
    assert sum(second[name] for name in phases) <= second["seconds"] - first["seconds"] + 0.2
    page = (run / "report.html").read_text()
    assert "boxes/map_50" in page and "seconds/data" not in page.partition("Evaluations")[0], "no curve of accuracy"


def test_the_bar_on_a_terminal(boxes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(execution, "ProgressDisplay", lambda: progress.ProgressDisplay(terminal))
    monkeypatch.setattr(execution, "write_run_report", lambda *_: None)
    boxes["train"]["epochs"] = 1
    vertebra.train(boxes, out=tmp_path / "run")
    assert re.search(r"epoch 1/1, evaluation 1/1 .*2/2 \S+ images/s  RAM \d+\.\d GB  loss boxes \d", shown.getvalue())
    assert re.search(r"epoch 1/1  boxes/map \d", shown.getvalue()), "the line of the epoch stays"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"),
     (7500, "2 h 05 min"), (86399, "1 d 0 h"), (100_800, "1 d 4 h")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_evaluations_that_are_left() -> None:
    for epochs in range(1, 9):
        for every in range(1, 10):
            for done in range(epochs + 1):
                later = range(done + 1, epochs + 1)
                count = sum(epoch % every == 0 or epoch == epochs for epoch in later)
                assert evaluations_left(done, epochs, every) == count, (done, epochs, every)


def test_the_first_step_counts_only_until_there_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    left = Pace()
    assert left.left(10, 1) is None
    left.start()
    now += 30
    left.end_step()
    assert left.left(10, 1) == 300
    now += 2
    left.end_step()
    now += 5
    left.end_evaluation()
    assert left.left(10, 3) == 10 * 2 + 3 * 5


def test_what_a_task_shows_first_is_measured() -> None:
    for name, task in TASKS.items():
        assert set(task.headline) <= set(task.metric(fake_labels(name)).names()), name
