"""SIGTERM and Ctrl-C end every command in one line, with the exit code that shells and schedulers expect."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import vertebra

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
COMMAND = [str(Path(sys.executable).with_name("vertebra"))]


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Start]:
    """Starts a command in a process group of its own, as a shell does; its output goes to ``log``."""
    processes = []

    def start(words: list[str], command: list[str] = COMMAND) -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("wb") as file:
            process = subprocess.Popen(
                [*command, *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(
                    signal.SIGINT, signal.SIG_DFL
                ),  # ignored where tests run in the background
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)


@pytest.fixture
def endless(scenes: Path, tmp_path: Path) -> Path:
    """A config of a run that only a signal ends."""
    config = {
        "data": str(scenes / "animals"),
        "model": {"backbone": "test_resnet", "decoder": "linear"},
        "train": {"epochs": 100_000, "batch_size": 4, "image_size": 32, "workers": 0, "precision": "32"},
    }
    (tmp_path / "endless.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "endless.yaml"


@pytest.mark.parametrize(
    ("number", "code", "whole_group", "workers"),
    [(signal.SIGTERM, 143, False, 0), (signal.SIGTERM, 143, True, 1), (signal.SIGINT, 130, True, 1)],
)
def test_a_stopped_run_is_saved(
    started: Start, endless: Path, tmp_path: Path, number: signal.Signals, code: int, whole_group: bool, workers: int
) -> None:
    """Kubernetes and `timeout` signal one process; a terminal and SLURM signal the loader processes too."""
    run, log = tmp_path / "run", tmp_path / "log"
    process = started(["train", str(endless), f"train.workers={workers}", "--out", str(run)])
    wait_for((run / "previous.ckpt").exists, process, log)  # the first state is saved before the first step
    before = torch.load(run / "last.ckpt", weights_only=True)["global_step"]
    if whole_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(120) == code, log.read_text()
    last = [line for line in log.read_text().splitlines() if line.startswith("vertebra:")]
    assert last == [f"vertebra: stopped; everything is saved. Continue with: vertebra train --resume {run}"]
    assert log.read_text().splitlines()[-1] == last[0] and "Traceback" not in log.read_text()
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] >= before > 0


def test_two_processes_stop_together_where_one_is_told_to(started: Start, endless: Path, tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    process = started(["train", str(endless), "train.devices=2", "train.accelerator=cpu", "--out", str(run)])
    wait_for((run / "previous.ckpt").exists, process, log)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 143, log.read_text()
    assert log.read_text().count("stopped; everything is saved") == 1 and "Traceback" not in log.read_text()


def test_a_stopped_prediction_leaves_whole_lines(started: Start, finished: Path, tmp_path: Path) -> None:
    for number in range(300):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:03d}.png")
    lines, log = tmp_path / "found.jsonl", tmp_path / "log"
    words = ["predict", str(finished), str(tmp_path / "images"), "--jsonl", str(lines), "--batch-size", "1"]
    process = started(words)
    wait_for(lambda: lines.exists() and lines.stat().st_size > 0, process, log)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143, log.read_text()
    assert log.read_text().splitlines()[-1] == "vertebra: stopped by SIGTERM"
    content = lines.read_text()
    assert content.endswith("\n") and 0 < len(list(map(json.loads, content.splitlines()))) < 300


@pytest.mark.parametrize(
    ("words", "place", "number", "code"),
    [
        (["eval", "x"], "vertebra.export.evaluate.evaluate", signal.SIGTERM, 143),
        (["export", "x", "--out", "y.onnx"], "vertebra.weights.model_file.load", signal.SIGTERM, 143),
        (["data", "check", "x", "--task", "detect"], "vertebra.data.check.run.check_data", signal.SIGINT, 130),
    ],
)
def test_other_commands_end_in_one_line(
    started: Start, words: list[str], place: str, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """In the midst of the work, a file that is open is closed."""
    script = (
        "import time, importlib\nfrom vertebra.cli.main import main\n"
        f"module, name = {place.rpartition('.')[0]!r}, {place.rpartition('.')[2]!r}\n"
        "def work(*given, **options):\n"
        f"    with open({str(tmp_path / 'part')!r}, 'w') as file:\n        file.write('half')\n"
        "        print('ready', flush=True)\n        time.sleep(60)\n"
        "setattr(importlib.import_module(module), name, work)\nmain()\n"
    )
    log = tmp_path / "log"
    process = started(words, [sys.executable, "-c", script])
    wait_for(lambda: "ready" in log.read_text(), process, log)
    process.send_signal(number)
    assert process.wait(60) == code, log.read_text()
    assert log.read_text().splitlines() == ["ready", f"vertebra: stopped by {number.name}"]
    assert (tmp_path / "part").read_text() == "half"


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """A job in the background of a script is not meant by Ctrl-C."""
    from vertebra.training.stopping import StopRequest

    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        request = StopRequest()
        request.watch()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == request.receive
        request.release()
        assert signal.getsignal(signal.SIGTERM) is not request.receive
    finally:
        signal.signal(signal.SIGINT, old)


def test_the_second_signal_stops_at_once() -> None:
    from vertebra.errors import StoppedBySignal
    from vertebra.training.stopping import StopRequest

    request = StopRequest()
    request.receive(signal.SIGINT)
    with pytest.raises(StoppedBySignal) as stopped:
        request.receive(signal.SIGTERM)
    assert request.signal == signal.SIGINT and stopped.value.number == signal.SIGTERM
    assert not isinstance(stopped.value, Exception | vertebra.VertebraError)
