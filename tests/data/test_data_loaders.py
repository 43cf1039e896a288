"""Batches from loaders: the same with any number of workers, exact in mid-epoch, clear on bad images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from vertebra.data.batches import Batch
from vertebra.data.loaders import Loader, build_loader
from vertebra.data.open import open_data
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData
from vertebra.data.sources import Source
from vertebra.errors import DataError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment

Make = Callable[..., Path]


@pytest.fixture
def animals(class_folders: Make) -> Path:
    return class_folders({"train/cat": 9, "train/dog": 8, "val/cat": 3, "val/dog": 2})


def made(root: Path, workers: int = 0, augment: str | None = "strong", chunks: int | None = None) -> Loader:
    index = open_data(root, "classify", "train" if augment else "val")
    source = Source(index, {"animal": "classify"})
    labels = {"animal": index.labels["classify"]}
    data = MixedData(
        [source], labels, ResizeSpec((16, 20)), None if augment is None else Augment.preset(augment), seed=7
    )
    return build_loader(data, MixSampler(data, 4, seed=7, shuffle=augment is not None), workers=workers, chunks=chunks)


def same(first: list[Batch], second: list[Batch]) -> bool:
    assert len(first) == len(second)
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(one.images, other.images)
        and torch.equal(one.targets["animal"].targets.labels, other.targets["animal"].targets.labels)
        for one, other in pairs
    )


def test_any_number_of_workers_gives_the_same(animals: Path) -> None:
    alone, helped = made(animals), made(animals, workers=2)
    for epoch in range(2):
        for loader in (alone, helped):
            loader.set_epoch(epoch)
        torch.manual_seed(0)
        first = list(alone)
        torch.manual_seed(1)
        state = torch.random.get_rng_state()
        assert same(first, list(helped))
        assert torch.equal(state, torch.random.get_rng_state())
    assert len(alone) == len(first) == 5


@pytest.mark.parametrize("workers", [0, 1])
def test_state_counts_what_was_handed_out(animals: Path, workers: int) -> None:
    loader = made(animals, workers)
    loader.set_epoch(1)
    whole = list(made_at(animals, 1))
    batches = iter(loader)
    seen = [next(batches), next(batches)]
    assert loader.state_dict() == {"epoch": 1, "step": 2, "steps": 5}
    again = made(animals)
    again.load_state_dict(loader.state_dict())
    assert same(seen + list(again), whole)
    assert again.state_dict()["step"] == 5
    again.set_epoch(2)
    assert same(list(again), list(made_at(animals, 2)))


def made_at(root: Path, epoch: int) -> Loader:
    loader = made(root)
    loader.set_epoch(epoch)
    return loader


def test_chunks_are_micro_batches(animals: Path) -> None:
    steps = list(made(animals, chunks=2))
    assert len(steps) == 5 and all([len(micro) for micro in step] == [2, 2] for step in steps)
    assert all(isinstance(micro, Batch) for step in steps for micro in step)
    assert [[len(micro) for micro in step] for step in made(animals, chunks=1)] == [[3], [3], [4], [3], [4]]


def test_evaluation_has_truths_in_order(animals: Path) -> None:
    batches = list(made(animals, augment=None))
    assert [len(batch) for batch in batches] == [4, 1]
    ground_truths = [ground_truth.label for batch in batches for ground_truth in batch.ground_truths["animal"]]
    assert ground_truths == [0, 0, 0, 1, 1]
    assert ground_truths == torch.cat([batch.targets["animal"].targets.labels for batch in batches]).tolist()


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_images_are_counted_across_workers(animals: Path, workers: int) -> None:
    bad = sorted((animals / "train" / "cat").iterdir())[0]
    bad.write_bytes(b"no")
    loader = made(animals, workers)
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert sum(len(batch) for batch in loader) == 17
    assert [note.split(" (")[0] for note in loader.dataset.notes()] == [
        f"1 image that could not be used was replaced by others: {bad.name}"
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_keep_to_one_line(animals: Path, workers: int) -> None:
    for path in (animals / "train").rglob("*.png"):
        path.write_bytes(b"no")
    with pytest.raises(DataError, match="not an image that can be read") as caught:
        list(made(animals, workers))
    assert "\n" not in str(caught.value)


class Recorder(pl.LightningModule):
    """Remembers what it was given."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[float] = []
        self.stop_at = stop_at

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, step: list[Batch], index: int) -> None:
        optimizer: Any = self.optimizers()
        optimizer.step()
        self.seen.append(sum(float(micro.images.double().mean()) for micro in step))


class Stop(Exception):
    """Stands for a killed run."""


class Keeper(pl.Callback):
    """Saves after a step, or at an epoch's end, and stops."""

    def __init__(self, path: Path, at: int, in_epoch: bool) -> None:
        self.path, self.at, self.in_epoch = path, at, in_epoch

    def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
        if self.in_epoch and trainer.global_step == self.at:
            trainer.save_checkpoint(self.path)
            raise Stop

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if not self.in_epoch and trainer.global_step == self.at:
            trainer.save_checkpoint(self.path)
            raise Stop


def trained(root: Path, callbacks: list[Any], resume: Path | None = None) -> list[float]:
    module = Recorder()
    trainer = pl.Trainer(
        max_epochs=3,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        use_distributed_sampler=False,
    )
    with contextlib.suppress(Stop):
        trainer.fit(module, made(root, chunks=1), ckpt_path=None if resume is None else str(resume), weights_only=False)
    return module.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("at", "in_epoch"), [(2, True), (7, True), (5, True), (5, False), (10, False)])
def test_lightning_resumes_exactly(animals: Path, tmp_path: Path, at: int, in_epoch: bool) -> None:
    whole = trained(animals, [])
    assert len(whole) == len(set(whole)) == 15
    kept = tmp_path / "state.ckpt"
    assert trained(animals, [Keeper(kept, at, in_epoch)]) == whole[:at]
    assert trained(animals, [], kept) == whole[at:]
