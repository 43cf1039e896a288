"""A run that is killed at any moment, and resumed, ends as one that never stopped, to the bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vertebra
from tests.daily_sample import MARKER, SEED, WHOLE
from tests.training import killed_runs
from tests.training.kill_server import changed_path
from vertebra.training import execution
from vertebra.training.folder import RunFolder
from vertebra.training.run import resume_run
from vertebra.training.state_files import WRITING, saved_states

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, signals and forks"),
    getattr(pytest.mark, MARKER),
]
KILLS = 20 if WHOLE else 3
MOMENTS = None if WHOLE else 4


@pytest.fixture(autouse=True)
def _without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a run takes longer than these runs."""
    monkeypatch.setattr(execution, "write_run_report", lambda *given: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return killed_runs.write_data(tmp_path_factory.mktemp("killed") / "data")


class Moments:
    """Copies of a run folder as a power cut would leave it: before each change to it, and in the midst of each write.

    What was not synced is cut off.
    """

    def __init__(self, folder: Path, copies: Path) -> None:
        self.folder, self.copies = folder, copies
        self.names: list[str] = []
        self.synced: dict[int, tuple[int, int]] = {}
        self.active = False

    def observe(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook; one cannot be removed, so it is switched off."""
        path = changed_path(event, arguments) if self.active else None
        if path is not None and path.startswith(f"{self.folder}{os.sep}"):
            self.copy(f"{event} {Path(path).name}")

    def sync(self, number: int, fsync: Callable[[int], None]) -> None:
        if self.active:
            path = Path(f"/proc/self/fd/{number}").readlink()
            if self.folder in path.parents:
                self.copy(f"write {path.name}")
            fsync(number)
            state = os.fstat(number)
            self.synced[state.st_ino] = (state.st_size, state.st_mtime_ns)

    def copy(self, name: str) -> None:
        self.active = False
        target = self.copies / str(len(self.names))
        target.mkdir(parents=True)
        for path in self.folder.iterdir():
            state = path.stat()
            copied = Path(shutil.copy(path, target))
            if self.synced.get(state.st_ino) != (state.st_size, state.st_mtime_ns):
                os.truncate(copied, state.st_size // 2)
        self.names.append(name)
        self.active = True


@pytest.fixture(scope="module")
def never_stopped(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Moments, dict[str, Any]]]:
    """The moments of a run, and how it ended."""
    home = tmp_path_factory.mktemp("never_stopped")
    moments, fsync, saves = Moments(home / "run", home / "moments"), os.fsync, RunFolder.save

    def save(self: RunFolder, trainer: Any) -> None:
        saves(self, trainer)
        moments.copy("after a save")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "write_run_report", lambda *given: None)
        patch.setattr(os, "fsync", lambda number: moments.sync(number, fsync))
        patch.setattr(RunFolder, "save", save)
        sys.addaudithook(moments.observe)
        moments.active = True
        vertebra.train(killed_runs.config(data), out=home / "run")
        moments.active = False
    assert not killed_runs.leftovers(home / "run")
    yield moments, killed_runs.final_state(home / "run")
    shutil.rmtree(home)


def test_a_run_ends_the_same_from_any_moment(never_stopped: tuple[Moments, dict[str, Any]]) -> None:
    """A sample of all moments; `make matrix` tries each."""
    moments, wanted = never_stopped
    numbers = [number for number in range(len(moments.names)) if saved_states(moments.copies / str(number))]
    assert len(numbers) > 100 and len(moments.names) - len(numbers) < 15, "until the first save nothing can be lost"
    wrong: dict[str, str] = {}
    for number in numbers if MOMENTS is None else sorted(random.Random(SEED).sample(numbers, MOMENTS)):
        run = moments.copies / str(number)
        try:
            resume_run(run)
            killed_runs.check_same(run, wanted)
            assert not killed_runs.leftovers(run)
        except (AssertionError, vertebra.VertebraError) as error:
            wrong[f"{number}: {moments.names[number]}"] = str(error)
        shutil.rmtree(run)
    assert not wrong


class Processes:
    """Real training processes, and how many were killed, by what they did."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.training.kill_server"]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.killed = {"training": 0, "changing files": 0, "writing": 0}
        self.restarts = 0

    def run(self, config: dict[str, Any], folder: Path, die: list[int] | None, delay: float | None) -> bool:
        """Starts or resumes a run; returns whether it was killed."""
        new = not saved_states(folder)
        self.restarts += new and folder.exists()
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        assert self.server.stdin is not None
        self.server.stdin.write(
            json.dumps({"folder": str(folder), "config": config if new else None, "die": die}) + "\n"
        )
        self.server.stdin.flush()
        process = self._number()
        if delay is not None:
            time.sleep(delay)
            os.kill(process, signal.SIGKILL)  # it is not reaped before its end is read
        status = self._number()
        assert status in (0, -signal.SIGKILL, -signal.SIGXFSZ), "the error is on standard error"
        if status:
            self.killed[
                "writing" if (folder / WRITING).exists() else "training" if die is None else "changing files"
            ] += 1
        return status != 0

    def _number(self) -> int:
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())


@pytest.fixture
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.server.kill()
    started.server.communicate()


def test_a_killed_process_is_resumed(
    processes: Processes, data: Path, tmp_path: Path, never_stopped: tuple[Moments, dict[str, Any]]
) -> None:
    """Killed after a random time, before a random change to a file, and in the midst of a random write; several times a run."""
    draw, config, runs, kills = random.Random(SEED), killed_runs.config(data), 0, 0
    while kills < KILLS:
        folder, ended, runs = tmp_path / f"run{runs}", False, runs + 1
        for _ in range(3):
            turn = kills % 3
            operation = [draw.randint(1, 60), draw.choice([100_000, 2_000_000, 5_000_000]) if turn == 2 else 0]
            ended = not processes.run(
                config, folder, operation if turn else None, None if turn else draw.uniform(0, 2.5)
            )
            kills += not ended
            if ended or kills == KILLS:
                break
        while processes.run(config, folder, None, None):
            pass
        killed_runs.check_same(folder, never_stopped[1])
        assert not killed_runs.leftovers(folder)
    print(f"{kills} kills of {runs} runs: {processes.killed}; {processes.restarts} had saved nothing and began again")
