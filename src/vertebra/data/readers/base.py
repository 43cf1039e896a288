"""The interface of a reader, from a data set on disk to the index of one of its splits, and the base class of most readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from vertebra.annotations.annotated_classes import restrict_scope
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.data.drawing_groups import division_note, drawing_groups
from vertebra.data.index import Index
from vertebra.data.index_cache import cached_index
from vertebra.data.lists import listed_rows
from vertebra.data.splits import divide, source_split
from vertebra.errors import DataError
from vertebra.tasks import all_tasks, get_task


@runtime_checkable
class Reader(Protocol):
    """Reads data sets of one format.

    A reader of another package is an object with these members behind an entry point of the group ``vertebra.readers``. Formats
    whose annotations fit `Annotations` have less to do with `AnnotationReader`.
    """

    @property
    def name(self) -> str:
        """The format's name in configs and on the command line: "coco"."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose annotations the format has."""

    @property
    def summary(self) -> str:
        """A short description of the format, for the message about unknown formats."""

    def looks_like(self, path: Path) -> bool:
        """Whether a data set has this format; must be fast, and False for all other formats.

        Args:
            path: a folder that is not empty, or a file.
        """

    def read(self, path: Path, task: str, split: str, options: ReadOptions) -> Index:
        """One split of a data set.

        Args:
            path: a folder or a file that exists.
            task: one of ``tasks``.
            split: "train", "val" or "test"; see `vertebra.data.splits` for data sets without splits.
            options: the same for all readers.

        Returns:
            The images, with a column of annotations and the labels for ``task``.

        Raises:
            DataError: there is no such split, or the data cannot be used; the message names the file and a fix.
        """


class AnnotationReader(ABC):
    """A `Reader` that loads all annotations of a format in the form that all formats share; each task derives its own from them.

    Attributes:
        name: the format's name in configs and on the command line.
        summary: a short description of the format, for the message about unknown formats.
        holds: the kinds of annotations that the format can hold, see `vertebra.annotations.table.KINDS`.
        suffixes: of the files with annotations, in lower case, for the message about unknown formats.
        division: how `divided` divides, for the note about it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    holds: ClassVar[frozenset[str]]
    suffixes: ClassVar[tuple[str, ...]] = ()
    division: ClassVar[str] = "divided at random with seed {seed}"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose labels can be made from what the format holds."""
        return tuple(name for name, task in all_tasks().items() if task.data.source_kinds & self.holds)

    @abstractmethod
    def looks_like(self, path: Path) -> bool:
        """Whether a data set has this format; must be fast, and False for all other formats.

        Args:
            path: a folder that is not empty, or a file.
        """

    def kinds_in(self, path: Path) -> frozenset[str]:
        """The kinds of annotations that a data set of this format has, as far as its folders show; must be fast."""
        return self.holds

    def refusal(self, path: Path) -> str:
        """Why a data set that nearly has this format is not read, and what would be, for the message; "" for others."""
        return ""

    @abstractmethod
    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that the data set itself has; empty if it has none.

        Raises:
            DataError: the data set is damaged.
        """

    @abstractmethod
    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All annotations of one split.

        Args:
            path: a folder or a file that exists.
            split: one of `splits`; None for the images of all splits, with ``Annotations.splits`` filled in.
            options: the same for all readers.

        Returns:
            The images that exist, in the files' order, with the categories of all splits.

        Raises:
            DataError: the data cannot be used; the message names the file and a fix.
        """

    def splits_for(self, path: Path, kinds: frozenset[str], options: ReadOptions) -> tuple[str, ...]:
        """The splits of the images with annotations of some kinds, read with some options, where these matter; else `splits`."""
        return self.splits(path)

    def load_for(self, path: Path, split: str | None, options: ReadOptions, kinds: frozenset[str]) -> Annotations:
        """The annotations of some kinds only, where the data set keeps kinds apart; else `load`."""
        return self.load(path, split, options)

    def image_values(self, path: Path, column: str, options: ReadOptions) -> Mapping[str, object] | None:
        """A column of the data set's tables, by the image's path relative to the root; None for a format or set without it."""
        return None

    def divided(
        self, annotations: Annotations, strata: np.ndarray, shares: dict[str, float], split: str, seed: int
    ) -> np.ndarray:
        """The rows of one split of a data set that is divided at random.

        Args:
            annotations: of all images to divide.
            strata: (n,) class numbers or (n, K) counts, which every split needs in proportion.
            shares, split, seed: as `vertebra.data.splits.divide` takes them.
        """
        groups, keys = drawing_groups(annotations), annotations.images
        return divide(len(annotations), shares, split, seed, strata, groups=groups, keys=keys)

    def read(self, path: Path, task: str, split: str, options: ReadOptions) -> Index:
        """One split for one task; see `Reader.read`."""
        kinds = get_task(task).data.source_kinds
        source, shares = source_split(self.splits_for(path, kinds, options), split, path)
        annotations = self._edited(path, source, options, kinds)

        def derive() -> Index:
            index = index_of(annotations, task, options)
            if shares is None:
                return index
            rows = self.divided(annotations, index.strata(task), shares, split, options.seed)
            index.notes.append(division_note(annotations, self.division, split, len(rows), options.seed))
            return index.take(rows)

        settings = (self.name, options, *([] if shares is None else [shares, split]))
        return cached_index(annotations, task, settings, derive)

    def read_listed(self, path: Path, task: str, file: Path, options: ReadOptions) -> Index:
        """The images that a list file names, of all splits of the data set, for one task.

        Args:
            path, task, options: as for `read`.
            file: see `vertebra.data.lists.read_list`.

        Raises:
            DataError: the list names an image that the data set does not have, or none.
        """
        annotations = self._edited(path, None, options, get_task(task).data.source_kinds)
        rows = listed_rows(file, annotations.root, annotations.images, path)
        return index_of(annotations.take(rows), task, options)

    def _edited(self, path: Path, source: str | None, options: ReadOptions, kinds: frozenset[str]) -> Annotations:
        """What `load_for` returns, with the changed classes."""
        if not options.edits:
            edited = loaded = self.load_for(path, source, options, kinds)
        else:
            loaded = self.load_for(path, source, replace(options, classes=None), kinds)
            edited = options.edits.apply(loaded)
        if options.annotated is not None:
            edited = restrict_scope(edited, options.annotated, options.classes)
        if edited is loaded:
            return loaded
        return edited.with_key(f"{loaded.key}, {options.edits}, {options.annotated}") if loaded.key else edited


def index_of(annotations: Annotations, task: str, options: ReadOptions) -> Index:
    """The images of a data set with the annotations of one task.

    Raises:
        DataError: the data set has no annotations that the task can use, or they are wrong.
    """
    data = get_task(task).data
    kinds = annotations.kinds
    if kinds and not kinds & data.source_kinds:
        noted = f" ({'; '.join(map(str, annotations.notes))})" if annotations.notes else ""
        raise DataError(
            f"{annotations.where}: it has {' and '.join(sorted(kinds))}, but task '{task}' needs "
            f"{' or '.join(sorted(data.source_kinds))}{noted}"
        )
    if not (annotations.categories or options.classes):
        raise DataError(f"{annotations.where}: it marks no object and names no class")
    notes = list(annotations.notes)
    annotations = _with_usable_scope(annotations, task, options, notes)
    column, labels = data.read(annotations, options, notes)
    return Index(annotations.root, annotations.images, {task: column}, {task: labels}, notes)


def _with_usable_scope(annotations: Annotations, task: str, options: ReadOptions, notes: list[Note]) -> Annotations:
    """The annotations, without their label scope where the task has no use for it, with a note.

    Raises:
        DataError: the user lists the annotated classes, and the task cannot use that.
    """
    scope = annotations.scope
    if scope is None or not scope.partial.any():
        return annotations if scope is None else replace(annotations, scope=None)
    names = annotations.names(np.flatnonzero(scope.partial))
    which = "in which not all classes are annotated"
    if get_task(task).data.uses_scope(options.multilabel):
        notes.append(Note.of("image", which, "read with the classes that are", names))
        return annotations
    if options.annotated is not None:
        raise DataError(
            f"{annotations.where}: 'annotated' is for boxes, masks and classes of images that may overlap (multilabel: true), not "
            f"for this branch of task '{task}'; leave it out"
        )
    notes.append(Note.of("image", which, f"read for task '{task}' as if all were", names))
    return replace(annotations, scope=None)
