"""Loads batches, in this process or in workers, and knows at any moment how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from vertebra.data.batches import Batch, collate
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData, Sample, Ticket
from vertebra.data.worker_signals import obey_parent_only
from vertebra.errors import DataError


class Loader:
    """The batches of an epoch.

    Iterating gives `Batch` objects; with ``chunks`` it gives lists of them, the micro batches of one step. Every sample
    is a function of its ticket, so that any number of workers gives the same. ``state_dict`` counts batches that were
    handed out, not those that workers have prepared in advance, and so is exact at any moment.

    Args:
        dataset: the samples.
        sampler: which ones make up a batch.
        workers: loader processes; 0 loads in this one.
        chunks: into how many micro batches each batch is divided; None for no division.
        pin_memory: page-locked batches for a GPU; None: if there is one.
    """

    def __init__(
        self,
        dataset: MixedData,
        sampler: MixSampler,
        workers: int = 0,
        chunks: int | None = None,
        pin_memory: bool | None = None,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.batch_sampler = None  # Lightning looks here before it takes the sampler's word
        sampler.divide(chunks or 1)
        self._done = sampler.start
        self._loader: DataLoader[Any] = DataLoader(
            _Guarded(dataset),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_Collate(dataset, chunks),
            pin_memory=torch.cuda.is_available() if pin_memory is None else pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=obey_parent_only,
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Number of batches in an epoch, also where this one started in its middle."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        """The batches of the sampler's epoch, as it is when the first of them is asked for.

        Raises:
            DataError: too many images cannot be used.
        """
        self._done = self.sampler.start
        for step in self._loader:
            if isinstance(step, DataError):
                raise step
            batches: Sequence[Batch] = [step] if isinstance(step, Batch) else step
            self.dataset.record([skip for batch in batches for skip in batch.skipped])
            self._done += 1
            yield step

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of an epoch."""
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on after the last batch that was handed out."""
        return self.sampler.state_dict(self._done)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The next iteration goes on where the state was taken."""
        self.sampler.load_state_dict(state_dict)
        self._done = self.sampler.start


def build_loader(
    dataset: MixedData,
    sampler: MixSampler,
    *,
    workers: int = 0,
    chunks: int | None = None,
    pin_memory: bool | None = None,
) -> Loader:
    """A loader; see `Loader` for the arguments."""
    return Loader(dataset, sampler, workers, chunks, pin_memory)


class _Guarded(Dataset[Any]):
    """Hands errors over as values: raised in a worker, they would arrive wrapped in its traceback."""

    def __init__(self, dataset: MixedData) -> None:
        self.dataset = dataset

    def __getitem__(self, ticket: Ticket) -> Sample | DataError:
        try:
            return self.dataset[ticket]
        except DataError as error:
            return error


class _Collate:
    """Puts samples together, divided into micro batches if so wished."""

    def __init__(self, dataset: MixedData, chunks: int | None) -> None:
        self.labels = dataset.labels
        self.chunks = chunks

    def __call__(self, samples: Sequence[Sample | DataError]) -> Batch | list[Batch] | DataError:
        loaded = []
        for sample in samples:
            if isinstance(sample, DataError):
                return sample
            loaded.append(sample)
        if self.chunks is None:
            return collate(loaded, self.labels)
        parts = [loaded[place :: self.chunks] for place in range(self.chunks)]
        return [collate(part, self.labels) for part in parts if part]
