"""Loads batches, in this process or in workers, with an exact position for resuming."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from vertebra.data.batches import Batch, collate
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData, Sample, SampleKey
from vertebra.data.shared_memory import batch_bytes, free_bytes, room_for, share, shortage
from vertebra.data.workers import Failure, convert_worker_exits, failure, find_worker_error, prepare_worker
from vertebra.processes import defined_in_script, without_script


class Loader:
    """The batches of an epoch.

    Iteration yields `Batch` objects; with ``chunks`` it yields lists of them, the micro batches of one step. Every sample is a
    function of its key, so the batches do not depend on the number of workers. ``state_dict`` counts yielded batches, not those
    that workers have prefetched, so it is exact at any time.

    Args:
        dataset: the samples.
        sampler: draws the samples of each batch.
        workers: loader processes; 0 loads in this one. Fewer are used, with a message on standard error, if shared memory has no
            room for more.
        chunks: number of micro batches that each batch is divided into; None for no division.
        pin_memory: page-locked batches for a GPU; None for page-locked batches if there is a GPU.
        sharing: number of processes on this machine that have a loader like this one.
    """

    def __init__(
        self,
        dataset: MixedData,
        sampler: MixSampler,
        workers: int = 0,
        chunks: int | None = None,
        pin_memory: bool | None = None,
        sharing: int = 1,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.batch_sampler = None  # Lightning checks this before the sampler
        sampler.divide(chunks or 1)
        self._done = sampler.start
        self.workers, self.chunks, self.sharing = workers, chunks, sharing
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        self._loader: DataLoader[Any] | None = None

    def __len__(self) -> int:
        """Number of batches in a full epoch, also if this one was resumed in the middle."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        """The batches of the sampler's epoch at the time of the first batch.

        Raises:
            DataError: too many images cannot be used.
            RunError: an image cannot be loaded for another reason, or a loader process has ended.
        """
        self._done = self.sampler.start
        self._loader = self._loader or self._build()
        with convert_worker_exits():
            with without_script() if self._loader.num_workers else nullcontext():
                steps = iter(self._loader)
            yield from self._checked(steps)

    def _checked(self, steps: Iterator[Any]) -> Iterator[Any]:
        while (step := self._next(steps)) is not None:
            if isinstance(step, Failure):
                step.rethrow()
            batches: Sequence[Batch] = [step] if isinstance(step, Batch) else step
            adapted = {path: change for batch in batches for path, change in batch.adapted.items()}
            self.dataset.record([skip for batch in batches for skip in batch.skipped], adapted)
            self._done += 1
            yield step

    def _next(self, steps: Iterator[Any]) -> Any:
        """The next step, or None after the last."""
        try:
            return next(steps, None)
        except (OSError, EOFError, RuntimeError) as error:
            worker_error = find_worker_error(getattr(steps, "_workers", ()), error)
            if worker_error is None:
                raise
            raise worker_error from error

    def _build(self) -> DataLoader[Any]:
        workers = self._usable_workers()
        return DataLoader(
            _Guarded(self.dataset),
            batch_sampler=self.sampler,
            num_workers=workers,
            collate_fn=_Collate(self.dataset, self.chunks),
            pin_memory=self.pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=prepare_worker,
            generator=torch.Generator(),
        )

    def _usable_workers(self) -> int:
        """The number of loader processes that can be used."""
        largest = max(self.sampler, key=len, default=None) if self.workers else None
        if largest is None:
            return self.workers
        if multiprocessing.get_context().get_start_method() != "fork":
            local_name = defined_in_script(self.dataset)
            if local_name is not None:
                self._print_on_first_rank(
                    f"images are loaded in the main process, because '{local_name}' is defined in the script itself; "
                    "put it in a module of its own, which loader processes can import"
                )
                return 0
        free = free_bytes()
        if free is None:
            return self.workers
        batch = batch_bytes(self.dataset, largest)
        workers = room_for(self.workers, batch, free // self.sharing)
        if workers < self.workers:
            self._print_on_first_rank(shortage(workers, self.workers, batch, free // self.sharing))
        return workers

    def _print_on_first_rank(self, line: str) -> None:
        if self.sampler.rank == 0:
            print(line, file=sys.stderr)

    def set_epoch(self, epoch: int) -> None:
        """Moves to the start of an epoch."""
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The state for resuming after the last yielded batch."""
        return self.sampler.state_dict(self._done)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Makes the next iteration continue at the saved position."""
        self.sampler.load_state_dict(state_dict)
        self._done = self.sampler.start


def build_loader(
    dataset: MixedData,
    sampler: MixSampler,
    *,
    workers: int = 0,
    chunks: int | None = None,
    pin_memory: bool | None = None,
    sharing: int = 1,
) -> Loader:
    """A loader; see `Loader` for the arguments."""
    return Loader(dataset, sampler, workers, chunks, pin_memory, sharing)


class _Guarded(Dataset[Any]):
    """Returns errors as values instead of raising them."""

    def __init__(self, dataset: MixedData) -> None:
        self.dataset = dataset

    def __getitems__(self, keys: list[SampleKey]) -> Sequence[Sample | Failure]:
        """The samples of a batch; DataLoader prefers this to one by one."""
        try:
            return self.dataset.load(keys)
        except Exception as error:  # of any kind, as below
            samples = [self[key] for key in keys]  # one by one, to name the image
            named = any(isinstance(sample, Failure) for sample in samples)
            return samples if named else [failure(error, "a batch could not be loaded")]

    def __getitem__(self, key: SampleKey) -> Sample | Failure:
        try:
            return self.dataset[key]
        except Exception as error:  # of any kind, instead of a traceback from another process
            path = self.dataset.sources[key.source].index.path(key.row)
            return failure(error, f"{path} could not be loaded")


class _Collate:
    """Collates samples, optionally divided into micro batches."""

    def __init__(self, dataset: MixedData, chunks: int | None) -> None:
        self.labels = dataset.labels
        self.chunks = chunks

    def __call__(self, samples: Sequence[Sample | Failure]) -> Batch | list[Batch] | Failure:
        loaded = []
        for sample in samples:
            if isinstance(sample, Failure):
                return sample
            loaded.append(sample)
        try:
            if self.chunks is None:
                return self._collate(loaded)
            parts = [loaded[start :: self.chunks] for start in range(self.chunks)]
            return [self._collate(part) for part in parts if part]
        except Exception as error:  # as in `_Guarded`
            return failure(error, "a batch could not be made")

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        batch = collate(samples, self.labels)
        return batch if get_worker_info() is None else share(batch)
