"""The documented Python code, at the top of a script without a guard, works however Python starts processes; and a loader process
that dies ends a run in one sentence."""

from __future__ import annotations

import subprocess
import sys
import threading
from multiprocessing import spawn
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vertebra.processes import defined_in_script, without_script

OPTIONS = """
config = {
    "data": "data",
    "model": {"backbone": {"name": "test_resnet", "pretrained": False}, "decoder": "linear"},
    "train": {"epochs": 1, "batch_size": 4, "image_size": [32, 32], "workers": 1},
}
"""
SCRIPT = f"""
print("script")
import multiprocessing, sys
multiprocessing.set_start_method(sys.argv[1])
import vertebra
{OPTIONS}
run = vertebra.train(config, out="run")
print("scores", *vertebra.evaluate(run, split="val"))
print("found", len(vertebra.load(run).predict("data")))
"""
DYING = """
import os, signal
from vertebra.cli import main
from vertebra.data.samples import MixedData

MAIN, load = os.getpid(), MixedData.__getitem__

def dies(self, ticket):
    if ticket.epoch == 1 and os.getpid() != MAIN:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(self, ticket)

MixedData.__getitem__ = dies
main.main()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name, count in (("train/a", 4), ("train/b", 4), ("val/a", 2), ("val/b", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
                tmp_path / "data" / name / f"{number}.png"
            )
    return tmp_path


def ran(place: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (place / "mine.py").write_text(script)
    return subprocess.run(
        [sys.executable, "mine.py", *arguments], cwd=place, capture_output=True, text=True, timeout=900
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_script_without_a_guard(place: Path, method: str) -> None:
    if sys.platform == "win32" and method != "spawn":
        pytest.skip("Windows has no other way to start processes")
    done = ran(place, SCRIPT, method)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("script") == 1, "loader processes do not run the script again"
    assert lines[-2].startswith("scores classify/") and lines[-1] == "found 12"
    assert [path.name for path in place.iterdir() if path.name.startswith("run")] == ["run"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_run_whose_loader_process_is_killed(place: Path) -> None:
    options = ["--task", "classify", "--backbone", "test_resnet", "--pretrained", "false", "--image-size", "32x32"]
    done = ran(
        place,
        DYING,
        "train",
        "--data",
        "data",
        *options,
        "--epochs",
        "3",
        "--batch-size",
        "4",
        "train.workers=1",
        "--out",
        "run",
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("vertebra: a loader process was killed from outside")
    assert (place / "run/model.safetensors").exists(), "the first epoch was kept"


def test_other_threads_start_processes_as_ever() -> None:
    plain = spawn.get_preparation_data
    with without_script():
        inside = spawn.get_preparation_data("mine")
        found: list[dict[str, object]] = []
        thread = threading.Thread(target=lambda: found.append(spawn.get_preparation_data("other")))
        thread.start()
        thread.join()
    assert spawn.get_preparation_data is plain
    keys = {"init_main_from_name", "init_main_from_path"}
    assert not keys & set(inside) and found[0]["name"] == "other"
    assert keys & set(found[0]) == keys & set(plain("plain"))


class Own:
    pass


def test_what_only_the_script_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert defined_in_script({"a": [Own(), np.zeros(3)]}) is None
    monkeypatch.setattr(Own, "__module__", "__main__")
    assert defined_in_script({"a": [Own()]}) == "Own"
