"""Data sets of a mix, and which of their images are labeled for which branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.data.balance import repeat_factors
from vertebra.data.class_mapping import ClassMapping, class_mapping
from vertebra.data.index import Index
from vertebra.errors import DataError
from vertebra.shards.members import remote_blocks
from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec


@dataclass(frozen=True, eq=False)
class Source:
    """One data set of a mix.

    Attributes:
        index: its images and annotations.
        branches: the branches that it is labeled for, each with its task.
        ratio: how often an epoch uses each image: 1 once, 0.5 half of the images, 2 twice.
        balance: whether images with rare classes are drawn more often in training.
        rename_classes: for classes with another name in the branches, from the data set's name to theirs.
    """

    index: Index
    branches: Mapping[str, str]
    ratio: float = 1.0
    rename_classes: Mapping[str, str] | None = None
    balance: bool = False


class Group(NamedTuple):
    """Images of one source with the same labeled branches.

    Attributes:
        source: index of the source.
        rows: (n,) int64 rows of its images.
        branches: names of the branches.
    """

    source: int
    rows: np.ndarray
    branches: tuple[str, ...]


class LabeledSources:
    """Data sets combined for a model's branches.

    Args:
        sources: the data sets.
        labels: the labels of each branch; class ids of the data sets are mapped to the branch's by name.

    Raises:
        DataError: a source has no labels for a branch, or none of the branch's classes.
    """

    def __init__(self, sources: Sequence[Source], labels: Mapping[str, LabelSpec]) -> None:
        self.sources = list(sources)
        self.labels = dict(labels)
        self._notes: list[Note] = []
        self._relabel: dict[tuple[int, str], ClassMapping] = {}
        self._labeled: dict[tuple[int, str], np.ndarray] = {}
        for number, source in enumerate(self.sources):
            for branch, task in source.branches.items():
                self._prepare(number, source, branch, task)
        self.groups = [group for number in range(len(self.sources)) for group in self._groups(number)]
        self._group_of = {(group.source, group.branches): group for group in self.groups}

    def _prepare(self, number: int, source: Source, branch: str, task: str) -> None:
        index = source.index
        if branch not in self.labels:
            raise DataError(f"{index.root}: it is for branch '{branch}', but the branches are {', '.join(self.labels)}")
        if task not in index.columns:
            opened = ", ".join(index.columns)
            raise DataError(f"{index.root}: branch '{branch}' needs labels for {task}, but it was opened for {opened}")
        column = index.columns[task]
        mapping, notes = class_mapping(
            index.labels[task], self.labels[branch], branch, str(index.root), source.rename_classes
        )
        labeled = get_task(task).data.usable(mapping.source_labels, column, mapping.ids)
        self._notes += notes
        self._relabel[number, branch] = mapping
        self._labeled[number, branch] = labeled

    def _groups(self, number: int) -> list[Group]:
        names = list(self.sources[number].branches)
        if not names:
            return []
        flags = np.stack([self._labeled[number, name] for name in names], axis=1)
        codes = flags @ (1 << np.arange(len(names)))
        groups = []
        for code in np.unique(codes[codes > 0]).tolist():
            branches = tuple(name for bit, name in enumerate(names) if code >> bit & 1)
            groups.append(Group(number, np.flatnonzero(codes == code), branches))
        without = int((codes == 0).sum())
        if without:
            rows = np.flatnonzero(codes == 0)[:4]
            shown = [self.sources[number].index.path(int(row)).name for row in rows]
            self._notes.append(Note.of("image", "without a label", "left out", shown, without))
        return groups

    def __len__(self) -> int:
        """Number of labeled images."""
        return sum(len(group.rows) for group in self.groups)

    def blocks(self, group: Group) -> np.ndarray | None:
        """(n,) int64, the block that each image of a group is read with, for data at a URL; None for files on disk."""
        index = self.sources[group.source].index
        return remote_blocks(index.root, index.images[group.rows])

    def repeat_factors(self, group: Group) -> np.ndarray | None:
        """How often training draws each image of a group, see `vertebra.data.balance`; None for equally often.

        Raises:
            DataError: the classes of the images are known only from their pixels.
        """
        source = self.sources[group.source]
        if not source.balance:
            return None
        factors = np.ones(len(group.rows))
        for branch in group.branches:
            task, ids = source.branches[branch], self._relabel[group.source, branch].ids
            presence = get_task(task).data.class_presence(source.index.columns[task], len(ids))
            if presence is None:
                raise DataError(
                    f"{source.index.root}: 'balance: classes' needs the classes of each image before it is opened, but these "
                    "are masks in files; leave balance out, or give outlines"
                )
            factors = np.maximum(factors, repeat_factors(presence[group.rows][:, ids >= 0]))
        return factors

    def measurable(self, branch: str) -> int:
        """Number of images with annotations that a branch's metrics use."""
        count = 0
        for number, source in enumerate(self.sources):
            if branch in source.branches:
                task = source.branches[branch]
                ids = self._relabel[number, branch].ids
                measurable = get_task(task).data.measurable(source.index.columns[task], ids)
                count += int((measurable & self._labeled[number, branch]).sum())
        return count

    @property
    def kinds_of_tasks(self) -> tuple[bool, bool]:
        """Whether an image may be labeled only as a whole, and whether one may have boxes, masks or points."""
        whole = [
            all(get_task(self.sources[group.source].branches[name]).data.whole_image for name in group.branches)
            for group in self.groups
        ]
        return any(whole), not all(whole)

    def _branches(self, source: int, row: int) -> tuple[str, ...]:
        """The branches that an image is labeled for."""
        return tuple(name for name in self.sources[source].branches if self._labeled[source, name][row])
