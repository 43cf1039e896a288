"""Loader processes that die, fail or find no room: one sentence each, and never a wait without end."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vertebra.data import loaders, shared_memory, workers
from vertebra.data.loaders import Loader, build_loader
from vertebra.data.open import open_data
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData, Sample, SampleKey
from vertebra.data.shared_memory import batch_bytes, free_bytes, room_for, shortage
from vertebra.data.sources import Source
from vertebra.data.workers import convert_worker_exits, failure
from vertebra.errors import DataError, RunError
from vertebra.preprocess.image_transform import ResizeSpec

# the garbage collector closes the sockets that torch's loader processes leave when they are killed
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Make = Callable[..., Path]
MB = 1_000_000


@pytest.fixture
def animals(class_folders: Make) -> Path:
    return class_folders({"train/cat": 9, "train/dog": 8})


class Failing(MixedData):
    """Does something else than loading at the ninth image."""

    def __init__(self, *given: Any, act: Callable[[], Any], **options: Any) -> None:
        super().__init__(*given, **options)
        self.act = act

    def __getitem__(self, ticket: SampleKey) -> Sample:
        if ticket.position == 8:
            self.act()
        return super().__getitem__(ticket)


def made(root: Path, act: Callable[[], Any] = lambda: None, workers: int = 1, size: int = 16) -> Loader:
    index = open_data(root, "classify", "train")
    source = Source(index, {"animal": "classify"})
    labels = {"animal": index.labels["classify"]}
    data = Failing([source], labels, ResizeSpec((size, size)), None, act=act)
    return build_loader(data, MixSampler(data, 4), workers=workers)


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def told(root: Path, act: Callable[[], Any], workers: int = 1) -> str:
    with pytest.raises(RunError) as caught:
        list(made(root, act, workers))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed from outside, most likely because memory ran out"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), r"/dev/shm is full.*--shm-size"),
        (
            lambda: os.kill(os.getpid(), signal.SIGSEGV),
            "is killed by signal: Segmentation fault; to see why.*workers=0",
        ),
        (lambda: os._exit(7), "a loader process exited with exit code 7; to see why.*workers=0"),
    ],
    ids=["killed", "bus error", "segmentation fault", "exit"],
)
def test_a_loader_process_that_ends(animals: Path, act: Callable[[], Any], sentence: str) -> None:
    assert re.search(sentence, told(animals, act))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), r"\.png could not be loaded: MemoryError$"),
        (
            OSError(errno.EIO, "Input/output error"),
            r"\.png could not be loaded: OSError: \[Errno 5\] Input/output error$",
        ),
        (KeyError("name"), r"could not be loaded: KeyError: 'name'$"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>"), r"^/dev/shm is full.*--shm-size"),
    ],
    ids=["memory", "disk", "bug", "shm"],
)
def test_an_error_that_nobody_expected(animals: Path, workers: int, error: Exception, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence) as caught:
        list(made(animals, raising(error), workers))
    assert "\n" not in str(caught.value) and "in act" in str(caught.value.__cause__), "--debug shows where"


def test_no_room_while_it_runs(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        loaders, "share", lambda batch: raising(RuntimeError("unable to allocate shared memory(shm)"))()
    )
    assert "--shm-size" in told(animals, lambda: None)


def test_a_batch_that_cannot_be_sent_ends_the_process(
    animals: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    collate = loaders.collate

    def unsendable(*given: Any) -> Any:
        batch = collate(*given)
        batch.ground_truths["animal"] = [lambda: None]
        return batch

    monkeypatch.setattr(loaders, "collate", unsendable)
    assert "exit code 1" in told(animals, lambda: None)
    assert "a batch could not be sent" in capfd.readouterr().err


def test_a_loader_process_without_a_main_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead:
        def is_alive(self) -> bool:
            return False

    ended: list[int] = []
    monkeypatch.setattr(workers, "os", type("Os", (), {"_exit": ended.append}))
    monkeypatch.setattr(workers.queues, "Queue", type("Queue", (), {}))
    monkeypatch.setattr(workers, "obey_parent_only", lambda number: None)
    for main in (None, Dead()):
        monkeypatch.setattr(workers.multiprocessing, "parent_process", lambda main=main: main)
        workers.prepare_worker(0)
    assert ended == [1]


def test_a_process_that_ends_while_the_model_works(animals: Path) -> None:
    """PyTorch raises its message wherever the main process is at that moment."""
    seen = []

    def dies_later() -> None:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RunError, match="killed from outside"), convert_worker_exits():
        for batch in made(animals, dies_later, workers=1):
            seen.append(batch)
            time.sleep(3)  # a long step, interrupted by nothing but the handler
    assert 1 <= len(seen) <= 2


def test_other_errors_are_left_as_they_are() -> None:
    for error in (RuntimeError("CUDA out of memory"), RunError("DataLoader worker (pid 1) in a sentence of our own")):
        with pytest.raises(RuntimeError) as caught, convert_worker_exits():
            raise error
        assert caught.value is error
    assert failure(DataError("as it is"), "ignored").error.args == ("as it is",)


def test_how_many_processes_have_room() -> None:
    assert room_for(8, 28 * MB, 64 * MB) == 0
    assert [room_for(4, MB, free * MB) for free in (3, 4, 5, 6, 9, 10, 1000)] == [0, 1, 1, 2, 3, 4, 4]
    assert room_for(3, 0, 0) == 3, "an image that cannot be loaded is told by the loader"
    line = shortage(1, 3, 14 * MB, 64 * MB)
    assert line.startswith("1 of 3 loader processes are used, because /dev/shm has 64 MB free")
    assert "batches of 14 MB need 112 MB; give a container more: docker run --shm-size=176m" in line
    assert shortage(0, 1, MB, MB).startswith("images are loaded in the main process, because /dev/shm has 1 MB free")


def test_the_size_of_a_batch(animals: Path) -> None:
    loader = made(animals)
    (batch, *_) = list(made(animals, workers=0))
    whole = sum(value.nbytes for value in shared_memory._tensors(batch))
    assert batch.images.nbytes < whole == batch_bytes(loader.dataset, next(iter(loader.sampler)))


@pytest.mark.parametrize(("free", "workers"), [(13_000, 1), (12_000, 0), (1_000_000, 2), (None, 2)])
def test_processes_are_left_out_where_there_is_no_room(
    animals: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    free: int | None,
    workers: int,
) -> None:
    monkeypatch.setattr(loaders, "free_bytes", lambda: free)
    loader, alone = made(animals, workers=2), made(animals, workers=0)
    for ours, theirs in zip(loader, alone, strict=True):
        assert torch.equal(ours.images, theirs.images)
    assert loader._loader is not None and loader._loader.num_workers == workers
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == (workers < 2) and all("--shm-size" in line for line in lines)
    list(loader)
    assert not capfd.readouterr().err, "said once"


def test_processes_that_train_together_share_the_room(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "free_bytes", lambda: 26_000)
    whole, half = made(animals, workers=2), made(animals, workers=2)
    half.sharing = 2
    assert (whole._usable_workers(), half._usable_workers()) == (2, 1)


def test_no_shared_memory_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if sys.platform == "linux":
        assert (free_bytes() or 0) > 0
        monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path / "none")
        assert free_bytes() == 0
    monkeypatch.setattr(sys, "platform", "darwin")
    assert free_bytes() is None


def can_mount() -> bool:
    try:
        done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], capture_output=True)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
@pytest.mark.parametrize("ask", [True, False], ids=["asked before", "full while it runs"])
def test_a_real_small_shared_memory(animals: Path, ask: bool) -> None:
    """4 images of 512x512 are 3 MB; 8 MB have room for none of two processes, and would have been waited for without end."""
    script = f"""
        from pathlib import Path
        from tests.data.test_data_workers import made
        from vertebra.data import loaders
        from vertebra.errors import RunError
        if not {ask}:
            loaders.free_bytes = lambda: None
        try:
            kept = list(made(Path({str(animals)!r}), workers=2, size=512))
            print("batches", len(kept), sum(map(len, kept)))
        except RunError as error:
            print("error", error)
    """
    command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"', "-"]
    done = subprocess.run(
        [*command, sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=600
    )
    if ask:
        assert done.stdout == "batches 4 15\n" and "images are loaded in the main process" in done.stderr
    else:
        assert done.stdout.startswith("error /dev/shm is full") and "--shm-size" in done.stdout
        assert "Traceback" not in done.stderr
