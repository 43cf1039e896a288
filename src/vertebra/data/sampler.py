"""Draws the images of each batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from vertebra.data.balance import draw_rows
from vertebra.data.block_order import by_blocks
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Group
from vertebra.errors import DataError, RunError


class MixSampler(Sampler[list[SampleKey]]):
    """Draws batches from a mix of data sets.

    In training, each epoch has ``ratio`` times the number of images of a source, spread evenly over the epoch's batches and
    shuffled by (seed, epoch). Every branch gets at least two labeled images in each batch of each process, if the batch is
    large enough; if a branch's share is too small for that, its images are drawn more often than its ratio, and others less
    often. No image is left out: a number that is no multiple of ``batch_size`` is spread over one more step, and the batches are of
    nearly equal size, at least two images for each micro batch (and branch, where images are labeled for some branches only).

    The images of a data set at a URL are read in blocks, so they are shuffled by blocks, see `vertebra.data.block_order`.

    In evaluation each labeled image is drawn once, in order. All processes get the same number of batches, padded with blank
    canvases.

    Args:
        dataset: the mix.
        batch_size: images for each step and process.
        seed: of the random draws.
        rank: index of this process.
        world_size: number of processes.
        shuffle: True for training, False for evaluation.

    Raises:
        DataError: there is no labeled image.
    """

    def __init__(
        self,
        dataset: MixedData,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        if not len(dataset):
            where = ", ".join(str(source.index.root) for source in dataset.sources) or "no data set"
            raise DataError(f"{where}: no image is labeled for any branch")
        self.groups = dataset.groups
        self.counts = [len(group.rows) * dataset.sources[group.source].ratio for group in self.groups]
        self.blocks = [dataset.blocks(group) if shuffle else None for group in dataset.groups]
        self.factors = [dataset.repeat_factors(group) for group in dataset.groups]
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.epoch = 0
        self.start = 0
        self.chunks = 1
        whole = self.total if shuffle else sum(len(group.rows) for group in self.groups)
        self.steps = math.ceil(math.ceil(whole / world_size) / batch_size)
        self._shares: list[list[int]] | None = None

    @property
    def total(self) -> int:
        """Number of images that an epoch of training draws."""
        return max(1, round(sum(self.counts)))

    @property
    def sizes(self) -> list[int]:
        """The number of images in each batch of a training epoch, those of all processes in turn."""
        branches = 1 if len(self.groups) == 1 else len({name for group in self.groups for name in group.branches})
        minimum = min(self.batch_size, 2 * branches * self.chunks, max(1, self.total // self.world_size))
        batches = self.steps * self.world_size
        ends = [self.total * number // batches for number in range(batches + 1)]
        return [max(minimum, end - start) for start, end in pairwise(ends)]

    def __len__(self) -> int:
        """Number of steps in a full epoch, also if this one was resumed in the middle."""
        return self.steps

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """The batches of this epoch, from `start` on."""
        batches = self._training() if self.shuffle else self._evaluation()
        return iter(batches[self.start :])

    def set_epoch(self, epoch: int) -> None:
        """Moves to the start of an epoch; does nothing if the sampler is already in it."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def divide(self, chunks: int) -> None:
        """Sets the number of micro batches of each batch, each of which needs labeled images of every branch."""
        self.chunks, self._shares = chunks, None

    def state_dict(self, step: int | None = None) -> dict[str, Any]:
        """The state for resuming.

        Args:
            step: number of completed batches of this epoch; by default those before its start.
        """
        return {"epoch": self.epoch, "step": self.start if step is None else step, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resumes at the position of `state_dict`; at the end of an epoch, at the start of the next one.

        Raises:
            RunError: the number of steps in an epoch has changed.
        """
        if state["steps"] != self.steps:
            raise RunError(
                f"an epoch had {state['steps']} steps when the run stopped, and has {self.steps} now; resume with the "
                "same data, batch size and number of processes"
            )
        done = state["step"] >= self.steps
        self.epoch, self.start = (state["epoch"] + 1, 0) if done else (state["epoch"], state["step"])

    def _evaluation(self) -> list[list[SampleKey]]:
        rows = sorted((group.source, int(row)) for group in self.groups for row in group.rows)
        keys = [SampleKey(*row, self.epoch) for row in rows[self.rank :: self.world_size]]
        each = math.ceil(len(rows) / self.world_size)
        keys += [SampleKey(*rows[0], self.epoch, blank=True)] * (each - len(keys))
        return [keys[at : at + self.batch_size] for at in range(0, each, self.batch_size)]

    @property
    def shares(self) -> list[list[int]]:
        """For each batch of a training epoch in all processes, the number of images of each group."""
        if self._shares is None:
            self._shares = batch_shares(self.groups, self.counts, self.sizes, 2 * self.chunks)
        return self._shares

    def _training(self) -> list[list[SampleKey]]:
        streams = [self._stream(number, sum(share)) for number, share in enumerate(zip(*self.shares, strict=True))]
        streams = [self._by_blocks(number, stream) for number, stream in enumerate(streams)]
        used = [0] * len(self.groups)
        starts = [0, *accumulate(map(sum, self.shares))]
        drawn = []
        for number, share in enumerate(self.shares):
            on_this_rank = number % self.world_size == self.rank
            keys: list[SampleKey] = []
            for group, count in enumerate(share):
                if on_this_rank:
                    rows = streams[group][used[group] : used[group] + count]
                    first = starts[number] + len(keys)
                    source = self.groups[group].source
                    keys += [SampleKey(source, row, self.epoch, first + offset) for offset, row in enumerate(rows)]
                used[group] += count
            if on_this_rank:
                drawn.append(keys)
        return drawn

    def _stream(self, number: int, length: int) -> list[int]:
        """The rows of a group in this epoch: shuffled, and reshuffled each time all were drawn."""
        group = self.groups[number]
        draw = np.random.default_rng([self.seed, self.epoch, number])
        rows: list[int] = draw_rows(group.rows, self.factors[number], length, draw).tolist()
        return rows

    def _by_blocks(self, number: int, stream: list[int]) -> list[int]:
        """The rows of a group in an order by blocks, if they are read in blocks."""
        blocks, counts = self.blocks[number], [share[number] for share in self.shares]
        if blocks is None:
            return stream
        rows = np.array(stream, dtype=np.int64)
        draw = np.random.default_rng([self.seed, self.epoch, number, 1])
        drawn_blocks = blocks[np.searchsorted(self.groups[number].rows, rows)]
        ordered: list[int] = by_blocks(rows, drawn_blocks, counts, self.world_size, draw).tolist()
        return ordered


def batch_shares(groups: list[Group], counts: list[float], sizes: list[int], min_labeled: int) -> list[list[int]]:
    """The number of images of each group in each batch.

    Every batch adds each group's fair share to its credit, and each drawn image subtracts one; the group with the most credit
    is drawn next, so every group is spread evenly.

    Args:
        groups: images with the same labeled branches.
        counts: target number of images of each group in an epoch.
        sizes: images in each batch of the epoch.
        min_labeled: minimum labeled images of every branch, drawn first while the batch has room.

    Returns:
        For each batch, the number of each group; they sum to its size.
    """
    if len(groups) == 1:
        return [[size] for size in sizes]
    parts = [count / sum(counts) for count in counts]
    branches = list(dict.fromkeys(name for group in groups for name in group.branches))
    members = [[number for number, group in enumerate(groups) if name in group.branches] for name in branches]
    credit = [0.0] * len(groups)
    shares = []
    for batch, size in enumerate(sizes):
        credit = [have + size * part for have, part in zip(credit, parts, strict=True)]
        share = [0] * len(groups)
        turn = batch % len(members)
        for those in members[turn:] + members[:turn]:
            while sum(share[number] for number in those) < min_labeled and sum(share) < size:
                _take(those, credit, share)
        while sum(share) < size:
            _take(range(len(groups)), credit, share)
        shares.append(share)
    return shares


def _take(among: Any, credit: list[float], share: list[int]) -> None:
    chosen = max(among, key=credit.__getitem__)
    credit[chosen] -= 1
    share[chosen] += 1
