"""Loads batches, in this process or in workers, with a position that can be saved at any moment."""

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
from vertebra.data.workers import Failure, ends_told, failure, lost, prepare_worker
from vertebra.processes import defined_in_script, without_script


class Loader:
    """The batches of an epoch.

    Iterating gives `Batch` objects; with ``chunks`` it gives lists of them, the micro batches of one step. A sample depends on
    its key only, so the number of workers does not change it. ``state_dict`` counts the batches that the loop has received, not
    those that workers have prepared in advance, so it is exact at any moment.

    Args:
        dataset: the samples.
        sampler: the keys of each batch.
        workers: number of loader processes; 0 loads in this process. If the shared memory has no room for all of them, fewer are
            used, with a line on standard error.
        chunks: number of micro batches that each batch is divided into; None for no division.
        pin_memory: page-locked batches for a GPU; None: if there is a GPU.
        sharing: number of processes on this machine with a loader like this one.
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
        self.batch_sampler = None  # Lightning reads this before the sampler
        sampler.divide(chunks or 1)
        self._done = sampler.start
        self.workers, self.chunks, self.sharing = workers, chunks, sharing
        self.pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        self._loader: DataLoader[Any] | None = None

    def __len__(self) -> int:
        """Number of batches in a whole epoch, also after a start in the middle of one."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        """The batches of the epoch that the sampler has when the first batch is requested.

        Raises:
            DataError: too many images cannot be used.
            RunError: an image cannot be loaded for another reason, or a loader process has ended.
        """
        self._done = self.sampler.start
        self._loader = self._loader or self._made()
        with ends_told():
            with without_script() if self._loader.num_workers else nullcontext():
                steps = iter(self._loader)
            yield from self._checked(steps)

    def _checked(self, steps: Iterator[Any]) -> Iterator[Any]:
        while (step := self._next(steps)) is not None:
            if isinstance(step, Failure):
                step.rethrow()
            batches: Sequence[Batch] = [step] if isinstance(step, Batch) else step
            self.dataset.record([skip for batch in batches for skip in batch.skipped])
            self._done += 1
            yield step

    def _next(self, steps: Iterator[Any]) -> Any:
        """The next step, or None after the last."""
        try:
            return next(steps, None)
        except (OSError, EOFError, RuntimeError) as error:
            worker_error = lost(getattr(steps, "_workers", ()), error)
            if worker_error is None:
                raise
            raise worker_error from error

    def _made(self) -> DataLoader[Any]:
        workers = self._fitting()
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

    def _fitting(self) -> int:
        """The number of loader processes that can be used."""
        first = next(iter(self.sampler), None)
        if self.workers == 0 or first is None:
            return self.workers
        if multiprocessing.get_context().get_start_method() != "fork":
            local_name = defined_in_script(self.dataset)
            if local_name is not None:
                self._print(
                    f"images are loaded in the main process, because '{local_name}' is defined in the script itself; "
                    "put it in a module of its own, which loader processes can import"
                )
                return 0
        free = free_bytes()
        if free is None:
            return self.workers
        batch = batch_bytes(self.dataset, first)
        workers = room_for(self.workers, batch, free // self.sharing)
        if workers < self.workers:
            self._print(shortage(workers, self.workers, batch, free // self.sharing))
        return workers

    def _print(self, line: str) -> None:
        if self.sampler.rank == 0:
            print(line, file=sys.stderr)

    def set_epoch(self, epoch: int) -> None:
        """Sets the position to the start of an epoch."""
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The position after the last batch that the loop has received."""
        return self.sampler.state_dict(self._done)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The next iteration continues at the saved position."""
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
    """Returns errors as values, because an exception of a worker would arrive as a traceback."""

    def __init__(self, dataset: MixedData) -> None:
        self.dataset = dataset

    def __getitem__(self, key: SampleKey) -> Sample | Failure:
        try:
            return self.dataset[key]
        except Exception as error:  # of any kind: see above
            path = self.dataset.sources[key.source].index.path(key.row)
            return failure(error, f"{path} could not be loaded")


class _Collate:
    """Makes a batch of samples, or several micro batches."""

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
        except Exception as error:  # as above
            return failure(error, "a batch could not be made")

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        batch = collate(samples, self.labels)
        return batch if get_worker_info() is None else share(batch)
