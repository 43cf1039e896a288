"""A failing test of the day's sample prints the command that repeats exactly it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import daily_sample as module

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest
from tests.daily_sample import daily_sample

@pytest.mark.parametrize("number", daily_sample(range(1000), 3))
def test_sampled(number):
    print("number", number)
    assert number < 0

def test_other():
    assert False
"""


def _pytest(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "tests.daily_sample", "-p", "no:cacheprovider", *arguments]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("VERTEBRA_MATRIX")}
    done = subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True)
    return done.stdout


def test_the_printed_command_repeats_the_test(tmp_path: Path) -> None:
    file = tmp_path / "test_sampled.py"
    file.write_text(TESTS)
    rootdir = ("--rootdir", str(tmp_path), "-c", str(tmp_path / "none.ini"))
    (tmp_path / "none.ini").write_text("[pytest]\n")
    first = _pytest(*rootdir, str(file), VERTEBRA_MATRIX_SEED="7")
    commands = re.findall(r"^(VERTEBRA_MATRIX_SEED=7) python -m pytest '(\S+)'$", first, re.MULTILINE)
    assert len(commands) == 3 and len(re.findall("repeat this test", first)) == 3, first
    _, nodeid = commands[1]
    again = _pytest(*rootdir, str(tmp_path / nodeid), VERTEBRA_MATRIX_SEED="7")
    assert "1 failed" in again and f"number {nodeid.split('[')[1][:-1]}\n" in again


def test_a_sample_is_the_same_for_the_same_seed(monkeypatch) -> None:
    monkeypatch.setattr(module, "WHOLE", False)
    samples = []
    for seed in (1, 1, 2):
        monkeypatch.setattr(module, "SEED", seed)
        samples.append([parameter.values for parameter in module.daily_sample("abcdefghijklmnopqrstuvwxyz", 5)])
    assert samples[0] == samples[1] != samples[2]
    assert samples[0] == sorted(samples[0]) and len(samples[0]) == 5
    monkeypatch.setattr(module, "WHOLE", True)
    assert [parameter.values for parameter in module.daily_sample(["a", ("b", 1)], 1)] == [("a",), ("b", 1)]
    assert module.repeat_command("a.py::t[x]") == "VERTEBRA_MATRIX_WHOLE=1 python -m pytest 'a.py::t[x]'"
