"""Damaged inputs are refused in one line, or read, in little time and memory; and faults would be counted."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import fuzz_runner
import numpy as np
import pytest
from fuzz_restore import Trial
from fuzz_runner import FAULTS, OUTCOMES, Counts, formats, run, table

from tests.daily_sample import daily_sample

INPUTS, EACH_DAY = 120, 10
SEALED = {
    "checkpoint",
    "model_file",
    "openvino",
    "pte",
}  # with checksums over all that is damaged here, so that nothing is accepted


@pytest.mark.parametrize("name", daily_sample(sorted(formats()), EACH_DAY))
def test_damaged_inputs(name: str) -> None:
    counts = run(name, seed=0, count=INPUTS)
    assert counts.sound, table({name: counts})
    assert sum(counts.outcomes.values()) == INPUTS
    assert counts.outcomes["clean"]
    assert counts.outcomes["accepted"] or name in SEALED


def test_the_same_number_is_the_same_input(tmp_path: Path) -> None:
    kind = formats()["coco"]
    found = []
    for place in ("a", "b"):
        folder = tmp_path / place
        folder.mkdir()
        path = kind.write(folder)
        kind.spoil(np.random.default_rng([0, 7]), path)
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_only_what_was_damaged_is_restored(tmp_path: Path) -> None:
    (tmp_path / "sound" / "inner").mkdir(parents=True)
    for name in ("a", "b", "inner/c"):
        (tmp_path / "sound" / name).write_text(name)
    folder = tmp_path / "trial"
    trial = Trial(tmp_path / "sound", folder)
    times = {}
    for number in range(2):
        (folder / "a").write_text("z")  # of the same size
        trial.stamp(number)
        times[(folder / "a").stat().st_mtime_ns] = number
        trial.restore()
        assert (folder / "a").read_text() == "a"
    times[(folder / "a").stat().st_mtime_ns] = 2
    assert len(times) == 3, "an input must not have the time of another one"
    for damage in ("remove", "rename", "link"):
        if damage == "remove":
            (folder / "a").unlink()
        elif damage == "rename":
            (folder / "inner").rename(folder / "other")
        else:
            (folder / "a").unlink()
            (folder / "a").symlink_to("b")
        trial.stamp(3)
        trial.restore()
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        assert names == ["a", "b", "inner", "inner/c"] and (folder / "inner" / "c").read_text() == "inner/c"
        assert not (folder / "a").is_symlink() and (folder / "a").read_text() == "a"


BAD_FORMAT = """
import os
from functools import partial

import numpy as np
from fuzz_runner import Format
from vertebra.errors import DataError


def write(folder):
    (folder / "file").write_text("sound")
    return folder / "file"


def spoil(rng, path):
    path.write_text(["sound", "refused", "KeyError", "memory", "abort"][rng.integers(5)])


def read(path, number):
    match path.read_text():
        case "refused":
            raise DataError("refused")
        case "KeyError":
            raise KeyError("a")
        case "memory":
            np.ones(600_000_000, dtype=np.uint8)
        case "abort":
            os.abort()


FORMATS = {"bad": Format(write, spoil, read)}
"""


def test_faults_are_counted_and_the_command_fails(tmp_path: Path) -> None:
    here = Path(fuzz_runner.__file__).parent
    for name in ("__main__.py", "fuzz_restore.py", "fuzz_runner.py", "fuzz_worker.py"):
        (tmp_path / name).write_text((here / name).read_text())
    (tmp_path / "fuzz_formats_bad.py").write_text(BAD_FORMAT)
    command = [sys.executable, str(tmp_path), "--count", "24", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    counted = dict(zip(OUTCOMES, map(int, done.stdout.splitlines()[1].split()[1:]), strict=True))
    words = [["sound", "refused", "KeyError", "memory", "abort"][n] for n in _draws(24, 1)]
    assert counted == {
        "clean": words.count("refused"),
        "accepted": words.count("sound"),
        "traceback": words.count("KeyError") + words.count("abort"),
        "over 5 s": 0,
        "over 500 MB": words.count("memory"),
    }
    assert all(counted[name] for name in OUTCOMES if name != "over 5 s")
    only = subprocess.run([*command[:2], "--format", "good"], capture_output=True, text=True, timeout=60)
    assert only.returncode == 2 and "unknown format good; there is: bad" in only.stderr


def _draws(count: int, seed: int) -> list[int]:
    name = zlib.crc32(b"bad")
    return [int(np.random.default_rng([seed, number, name]).integers(5)) for number in range(count)]


def test_the_table_shows_all_counters() -> None:
    counts = Counts()
    for number, outcome in enumerate([*OUTCOMES, "clean"]):
        counts.add(number, outcome, "why")
    lines = table({"coco": counts}).splitlines()
    assert lines[0].split() == ["format", "clean", "accepted", "traceback", "over", "5", "s", "over", "500", "MB"]
    assert lines[1].split() == ["coco", "2", "1", "1", "1", "1"]
    assert lines[2:] == [f"coco: input {number}: {name}: why" for number, name in enumerate(FAULTS, start=2)]
    assert not counts.sound and Counts().sound
