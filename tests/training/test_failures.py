"""Whatever ends a run leaves one that can be resumed, and that ends as one that never stopped, to the bit."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import vertebra
from tests.resolved import resolved_train
from tests.training import killed_runs
from vertebra.data.batches import Batch
from vertebra.data.samples import MixedData
from vertebra.errors import DataError, RunError, RunStopped
from vertebra.training import execution, state_files
from vertebra.training.division import divide_further
from vertebra.training.failures import as_user_error
from vertebra.training.resuming import plan_resumption
from vertebra.training.run import resume_run
from vertebra.training.state_files import SyncedCheckpoints
from vertebra.training.step import TrainingModule

# the garbage collector closes the sockets that torch's loader processes leave when they are killed
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
SHORT = {"epochs": 3, "evaluate_every": 2, "patience": None, "save_every_minutes": 10.0}
STEPS = 9


@pytest.fixture(autouse=True)
def _without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a run takes longer than these runs."""
    monkeypatch.setattr(execution, "write_run_report", lambda *given: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return killed_runs.write_data(tmp_path_factory.mktemp("failures") / "data")


class Reference:
    """A run that never stopped: its end, and the images of each step."""

    def __init__(self, run: Path, images: list[torch.Tensor]) -> None:
        self.run, self.images, self.state = run, images, killed_runs.final_state(run)


@contextmanager
def seen_images() -> Iterator[list[torch.Tensor]]:
    """The pixels of each step, as the network gets them, in an order of their own."""
    images: list[torch.Tensor] = []
    plain = TrainingModule.training_step

    def spy(self: TrainingModule, step: list[Batch], batch_idx: int) -> None:
        plain(self, step, batch_idx)
        rows = torch.cat([micro.images for micro in step]).flatten(1)
        images.append(rows[np.lexsort(rows[:, :64].T.numpy())])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", spy)
        yield images


@pytest.fixture(scope="module")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    with seen_images() as images, pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "write_run_report", lambda *given: None)
        run = vertebra.train(killed_runs.config(data, **SHORT), out=tmp_path_factory.mktemp("whole") / "run").folder
    assert len(images) == STEPS
    return Reference(run, images)


def at_step(number: int, act: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Does something else before a step, counted from 1."""
    plain = TrainingModule.training_step

    def training_step(self: TrainingModule, *given: Any) -> None:
        if self.global_step + 1 == number:
            act()
        plain(self, *given)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def interrupt(times: int) -> Callable[[], None]:
    def act() -> None:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

    return act


@pytest.mark.parametrize(
    ("step", "times", "message", "kept"),
    [
        (8, 1, "stopped; everything is saved. Go on with: vertebra train --resume", 8),
        (2, 2, "stopped at once; continue from the last save with: vertebra train --resume", 0),
    ],
    ids=["once", "twice"],
)
def test_ctrl_c_once_and_twice(
    reference: Reference,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    times: int,
    message: str,
    kept: int,
) -> None:
    """Once also in the last epoch, which is evaluated although the run evaluates every second one; twice before any epoch's end."""
    at_step(step, interrupt(times), monkeypatch)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where Ctrl-C is ignored
    with pytest.raises(RunStopped, match=message) as stopped:
        vertebra.train(killed_runs.config(data, **SHORT), out=tmp_path / "run")
    signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    assert stopped.value.exit_code == 130
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == kept
    resume_run(tmp_path / "run")
    killed_runs.check_same(tmp_path / "run", reference.state)


def full_disk(name: str, times: int) -> Callable[[Any], None]:
    """A sync that fails when a file is written once more."""
    count, sync = [0], state_files.sync_file

    def act(file: Any) -> None:
        if Path(file.name).name.startswith(name):
            count[0] += 1
            if count[0] > times:
                os.truncate(file.fileno(), 1000)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)
        sync(file)

    return act


@pytest.mark.parametrize(("name", "times"), [("last.ckpt", 2), (".partial-", 3)])
def test_a_full_disk(
    reference: Reference,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    times: int,
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(state_files, "sync_file", full_disk(name, times))
    monkeypatch.setattr("vertebra.files.sync_file", full_disk(name, times))
    with pytest.raises(RunError, match="no space is left on the disk"):
        vertebra.train(killed_runs.config(data, **SHORT), out=run)
    monkeypatch.undo()
    assert f"continue from the last save with: vertebra train --resume {run}" in capsys.readouterr().err
    assert not list(run.glob("*partial*")), "the disk has its space again"
    resume_run(run)
    killed_runs.check_same(run, reference.state)
    assert not killed_runs.leftovers(run)


def test_the_error_of_the_disk_is_not_hidden(tmp_path: Path) -> None:
    """PyTorch's zip writer raises one of its own."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            SyncedCheckpoints().save_checkpoint({"a": torch.zeros(100_000)}, tmp_path / "a.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_damaged_state_goes_back_to_the_one_before(
    reference: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(reference.run, tmp_path / "run"))
    half = (run / "last.ckpt").stat().st_size // 2
    os.truncate(run / "last.ckpt", half)
    resume_run(run)
    said = capsys.readouterr().err
    line = (
        f"{run / 'last.ckpt'}: cut off or damaged; the run continues from the save before it, previous.ckpt, in epoch 2"
    )
    assert line in said and line in json.loads((run / "run.json").read_text())["starts"][1]["changes"]
    killed_runs.check_same(run, reference.state)
    assert not killed_runs.leftovers(run)

    def plan() -> list[str]:
        return plan_resumption(run, data=None, overrides=[], sections={}).changes

    (run / "last.ckpt").rename(run / "away")
    assert plan() == ["there is no last.ckpt; the run continues from the save before it, previous.ckpt, in epoch 2"]
    os.truncate(run / "previous.ckpt", half)
    os.truncate(run / "away", half)
    (run / "away").rename(run / "last.ckpt")
    with pytest.raises(RunError, match=r"last\.ckpt: cut off or damaged; start a new run from the best weights"):
        plan()


def test_best_weights_that_are_not_those_of_the_state(
    reference: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older state beside newer weights: they are not taken for those of the state."""
    run = Path(shutil.copytree(reference.run, tmp_path / "run"))
    epoch = torch.load(run / "last.ckpt", weights_only=True)["callbacks"]["RunFolder"]["kept"]["epoch"]
    model = vertebra.load(run)
    assert model.provenance["epoch"] == epoch
    model.provenance["epoch"] = 99
    (run / "model.safetensors").unlink()
    vertebra.save(model, run / "model.safetensors")
    resume_run(run)
    assert f"has the weights of epoch 99, and the saved state refers to epoch {epoch}" in capsys.readouterr().err
    assert vertebra.load(run).provenance["epoch"] == 3, "the newest: no epoch was left"


def test_a_loader_process_that_is_killed(
    reference: Reference, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, load = os.getpid(), MixedData.__getitem__

    def dies(self: MixedData, key: Any) -> Any:
        if key.epoch == 1 and os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self, key)

    monkeypatch.setattr(MixedData, "__getitem__", dies)
    with pytest.raises(RunError, match="a loader process was killed from outside"):
        vertebra.train(killed_runs.config(data, **SHORT, workers=1), out=tmp_path / "run")
    monkeypatch.undo()
    resume_run(tmp_path / "run", train={"workers": 0})
    killed_runs.check_same(tmp_path / "run", reference.state)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (None, DataError, "no such image file; nor could any of 11 other images be used"),
        (OSError(errno.EIO, "Input/output error"), RunError, "could not be loaded: OSError"),
    ],
    ids=["vanished", "disk error"],
)
def test_data_that_cannot_be_read_for_a_while(
    reference: Reference,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError | None,
    raised: type[Exception],
    message: str,
) -> None:
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    load = MixedData.__getitem__

    def fails(self: MixedData, key: Any) -> Any:
        if key.epoch == 1 and error is not None:
            raise error
        if key.epoch == 1 and (copied / "train").exists():
            (copied / "train").rename(copied / "away")
        return load(self, key)

    monkeypatch.setattr(MixedData, "__getitem__", fails)
    with pytest.raises(raised, match=message):
        vertebra.train(killed_runs.config(copied, **SHORT), out=tmp_path / "run")
    monkeypatch.undo()
    if error is None:
        (copied / "away").rename(copied / "train")
    resume_run(tmp_path / "run")
    killed_runs.check_same(tmp_path / "run", reference.state)


CPU_ERROR = "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 B"


def test_out_of_memory_names_a_batch_that_needs_less(
    reference: Reference,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command in the message continues in the middle of the epoch with the images of a run that never stopped."""
    run = tmp_path / "run"
    config = killed_runs.config(data, **{**SHORT, "save_every_minutes": 1e-9})
    at_step(5, raising(RuntimeError(CPU_ERROR)), monkeypatch)
    with pytest.raises(RunError) as failed:
        vertebra.train(config, out=run)
    monkeypatch.undo()
    text, command = str(failed.value).split("continue with: ")
    assert text.startswith("out of memory ([enforce fail") and "with the same 4 images a step" in text
    assert command == f"vertebra train --resume {run} train.batch_size=2 train.accumulate=2"
    with seen_images() as images:
        resume_run(run, overrides=command.split()[-2:])
    said = capsys.readouterr().err
    assert "train.batch_size: 4 -> 2" in said and "in other micro batches the weights are not to the bit" in said
    assert "draw other images" not in said
    assert len(images) == STEPS - 4
    for ours, theirs in zip(images, reference.images[4:], strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(RunError, match=r"train\.batch_size .it was 2, now 4. cannot change within a run"):
        resume_run(run, train={"batch_size": 4, "epochs": 4})


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_out_of_memory_of_every_kind(error: Exception, tmp_path: Path) -> None:
    message = as_user_error(error, resolved_train(batch_size=6, accumulate=3), None)
    assert isinstance(message, RunError)
    assert str(message).endswith("the same 18 images a step; start again with train.batch_size=3 train.accumulate=6")
    assert as_user_error(RuntimeError("another"), resolved_train()) is None
    assert as_user_error(RunError("out of memory"), resolved_train()) is None
    assert "one image at a time does not fit" in str(as_user_error(error, resolved_train(batch_size=1), tmp_path))


def test_smaller_batches_keep_the_step() -> None:
    sizes = {size: divide_further(resolved_train(batch_size=size, accumulate=2)) for size in (1, 2, 7, 9, 16)}
    assert sizes == {
        1: None,
        2: "train.batch_size=1 train.accumulate=4",
        7: "train.batch_size=2 train.accumulate=7",
        9: "train.batch_size=3 train.accumulate=6",
        16: "train.batch_size=8 train.accumulate=4",
    }


def test_a_loss_that_never_is_finite_leaves_the_batch_that_began_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, plain = tmp_path / "run", TrainingModule._terms
    images: list[torch.Tensor] = []

    def infinite(self: TrainingModule, micro: Batch) -> Any:
        if self.global_step < 4 or not self.model.training:
            return plain(self, micro)
        images.append(micro.images)
        terms = plain(self, micro)
        (term,) = terms["classify"].values()
        return {"classify": {name: term._replace(sum=term.sum * torch.inf) for name in terms["classify"]}}

    monkeypatch.setattr(TrainingModule, "_terms", infinite)
    with pytest.raises(RunError, match=r"was not finite in ten steps in a row \(the first, step 5, with ") as failed:
        vertebra.train(killed_runs.config(data, epochs=6, patience=None), out=run)
    saved = run / "nonfinite_batch"
    assert f"its images and labels are in {saved}); check the labels with" in str(failed.value)
    said = capsys.readouterr().err
    assert (
        f"step 5: the loss classify/cross_entropy was not finite, so the step is not taken; its images and labels are in {saved}"
        in said
    )
    facts = json.loads((saved / "batch.json").read_text())
    assert facts["step"] == 5 and facts["losses"] == {"classify/cross_entropy": None}
    tensors = load_file(saved / "batch.safetensors")
    assert torch.equal(tensors["0.images"], images[0]) and len(images) == 10
    assert [Path(image["file"]).parent.name for image in facts["images"]] == [
        ["dark", "light"][number] for number in tensors["0.classify.targets.labels"].tolist()
    ]
    pictures = [np.asarray(Image.open(saved / image["picture"])) for image in facts["images"]]
    assert torch.equal(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), images[0])
    monkeypatch.undo()
    resume_run(run)
    assert vertebra.load(run), "the run can be resumed"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_names_are_synced_after_the_files(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new name of a state is on the disk before the run continues."""
    synced: list[str] = []
    fsync = os.fsync

    def spy(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink().name)
        fsync(number)

    monkeypatch.setattr(os, "fsync", spy)
    state_files.replace_state(tmp_path, lambda path: SyncedCheckpoints().save_checkpoint({}, path), True)
    assert synced == ["last.ckpt.partial", tmp_path.name]
