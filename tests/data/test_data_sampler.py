"""Which images make up which batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vertebra.annotations.paths import path_column
from vertebra.data.index import Index
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.errors import DataError, RunError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks.classify.column import ClassColumn
from vertebra.tasks.classify.labels import ClassifyLabels

LABELS = ClassifyLabels(("a",))


def mixed(counts: list[int], ratios: list[float] | None = None) -> MixedData:
    """One source for each branch ``b0``, ``b1`` …"""
    sources = []
    for number, count in enumerate(counts):
        column = ClassColumn(np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool))
        index = Index(
            Path(), path_column([f"{i}.png" for i in range(count)]), {"classify": column}, {"classify": LABELS}
        )
        sources.append(Source(index, {f"b{number}": "classify"}, (ratios or [1.0] * len(counts))[number]))
    return MixedData(sources, {f"b{n}": LABELS for n in range(len(counts))}, ResizeSpec((8, 8)), None)


def by_source(batch: list[SampleKey]) -> list[int]:
    counts = Counter(ticket.source for ticket in batch)
    return [counts[number] for number in range(max(counts) + 1)]


def test_an_epoch_has_each_image_once_and_is_shuffled_anew() -> None:
    sampler = MixSampler(mixed([24]), 8, seed=3)
    first = [ticket for batch in sampler for ticket in batch]
    assert sorted(ticket.row for ticket in first) == list(range(24))
    assert [ticket.position for ticket in first] == list(range(24))
    assert [ticket.row for ticket in first] == [ticket.row for batch in sampler for ticket in batch]
    sampler.set_epoch(1)
    second = [ticket for batch in sampler for ticket in batch]
    assert [ticket.row for ticket in first] != [ticket.row for ticket in second]
    assert {ticket.epoch for ticket in second} == {1}
    other = [ticket.row for batch in MixSampler(mixed([24]), 8, seed=4) for ticket in batch]
    assert [ticket.row for ticket in first] != other


def test_ratio_is_the_part_of_a_source_in_an_epoch() -> None:
    sampler = MixSampler(mixed([40, 40, 20], [1.0, 0.5, 2.0]), 10)
    tickets = [ticket for batch in sampler for ticket in batch]
    assert len(sampler) == 10
    assert Counter(ticket.source for ticket in tickets) == {0: 40, 1: 20, 2: 40}
    rows = [Counter(ticket.row for ticket in tickets if ticket.source == source) for source in range(3)]
    assert set(rows[0].values()) == {1} and set(rows[1].values()) == {1} and set(rows[2].values()) == {2}
    assert all(by_source(batch) == [4, 2, 4] for batch in sampler)


def test_every_branch_has_two_images_where_there_is_room() -> None:
    sampler = MixSampler(mixed([200, 10, 5]), 8)
    batches = list(sampler)
    assert len(batches) == 27 and {len(batch) for batch in batches} == {7, 8}
    assert all(by_source(batch)[1:] == [2, 2] for batch in batches)
    crowded = list(MixSampler(mixed([30, 30, 30]), 4))
    assert all(len(batch) == 4 and sorted(by_source(batch))[-1] == 2 for batch in crowded)
    drawn = Counter(ticket.source for batch in crowded for ticket in batch)
    assert max(drawn.values()) - min(drawn.values()) <= 4


def test_micro_batches_have_their_two_images_too() -> None:
    sampler = MixSampler(mixed([100, 10]), 16)
    sampler.divide(4)
    for batch in sampler:
        for chunk in range(4):
            assert by_source(batch[chunk::4]) == [2, 2]


def test_processes_share_an_epoch_in_equal_steps() -> None:
    samplers = [MixSampler(mixed([50, 13]), 5, rank=rank, world_size=3) for rank in range(3)]
    assert {len(sampler) for sampler in samplers} == {5}
    tickets = [ticket for sampler in samplers for batch in sampler for ticket in batch]
    assert sorted(ticket.position for ticket in tickets) == list(range(63))
    assert all(by_source(batch)[1] >= 1 for sampler in samplers for batch in sampler)
    whole = Counter((ticket.source, ticket.row) for ticket in tickets if ticket.source == 0)
    assert set(whole.values()) == {1}


def test_no_image_is_left_out() -> None:
    assert [len(batch) for batch in MixSampler(mixed([22]), 16)] == [11, 11]
    assert [len(batch) for batch in MixSampler(mixed([17]), 8)] == [5, 6, 6]
    assert [len(batch) for batch in MixSampler(mixed([22]), 4)] == [3, 4, 4, 3, 4, 4]
    for count, size, chunks, processes in ((23, 8, 2, 1), (101, 8, 1, 3), (33, 16, 4, 2)):
        samplers = [MixSampler(mixed([count]), size, rank=rank, world_size=processes) for rank in range(processes)]
        for sampler in samplers:
            sampler.divide(chunks)
        keys = [key for sampler in samplers for batch in sampler for key in batch]
        assert sorted(key.row for key in keys) == list(range(count))
        assert sorted(key.position for key in keys) == list(range(count))
        assert len({len(list(sampler)) for sampler in samplers}) == 1


def test_no_micro_batch_has_a_single_image() -> None:
    sampler = MixSampler(mixed([5]), 4)
    sampler.divide(2)
    assert [len(batch[chunk::2]) for batch in sampler for chunk in range(2)] == [2] * 4
    assert {key.row for batch in sampler for key in batch} == set(range(5))
    assert [len(batch) for batch in MixSampler(mixed([5]), 2)] == [2, 2, 2]
    assert [len(batch) for batch in MixSampler(mixed([2]), 1)] == [1, 1]


def test_small_sets_have_one_smaller_step() -> None:
    assert [len(batch) for batch in MixSampler(mixed([5]), 8)] == [5]
    ranks = [list(MixSampler(mixed([5]), 8, rank=rank, world_size=2)) for rank in range(2)]
    assert [[len(batch) for batch in batches] for batches in ranks] == [[2], [3]]
    assert [len(batch) for batch in MixSampler(mixed([1]), 8, world_size=2, rank=1)] == [1]
    with pytest.raises(DataError, match="no image is labeled for any branch"):
        MixSampler(mixed([0]), 8)


def test_evaluation_has_each_image_once_in_order() -> None:
    sampler = MixSampler(mixed([5, 4]), 4, shuffle=False)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [4, 4, 1] and len(sampler) == 3
    assert [ticket[:2] for batch in batches for ticket in batch] == [(0, row) for row in range(5)] + [
        (1, row) for row in range(4)
    ]


def test_evaluation_over_processes_fills_up_with_blanks() -> None:
    ranks = [list(MixSampler(mixed([10]), 2, rank=rank, world_size=3, shuffle=False)) for rank in range(3)]
    assert [[len(batch) for batch in batches] for batches in ranks] == [[2, 2]] * 3
    tickets = [ticket for batches in ranks for batch in batches for ticket in batch]
    assert sorted(ticket.row for ticket in tickets if not ticket.blank) == list(range(10))
    assert sum(ticket.blank for ticket in tickets) == 2


def test_resuming_in_mid_epoch_gives_the_rest() -> None:
    sampler = MixSampler(mixed([40, 9]), 6, seed=5)
    sampler.set_epoch(2)
    batches = list(sampler)
    other = MixSampler(mixed([40, 9]), 6, seed=5)
    other.load_state_dict(sampler.state_dict(3))
    other.set_epoch(2)
    assert list(other) == batches[3:] and len(other) == len(batches)
    other.set_epoch(3)
    sampler.set_epoch(3)
    assert list(other) == list(sampler)
    other.load_state_dict({"epoch": 4, "step": len(batches), "steps": len(batches)})
    assert (other.epoch, other.start) == (5, 0)
    with pytest.raises(RunError, match="an epoch had 99 steps when the run stopped, and has 9 now"):
        other.load_state_dict({"epoch": 0, "step": 1, "steps": 99})
