"""Opens all splits of a data set for several tasks at once, reading its files once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.data.check.report import Finding
from vertebra.data.drawing_groups import division_note
from vertebra.data.index import Index
from vertebra.data.open import DataSet, find_data
from vertebra.data.readers import all_readers
from vertebra.data.readers.base import AnnotationReader, Reader, index_of
from vertebra.data.splits import NoSplit, source_split
from vertebra.errors import DataError
from vertebra.tasks import get_task

NEEDED = ("train", "val")  # splits that a run needs


@dataclass
class OpenedSplit:
    """One split, for all tasks.

    Attributes:
        name: "train", "val" or "test".
        annotations: all that the files hold; None for a reader of another package that does not give it.
        indices: the images with the annotations of each task; all have the same images.
    """

    name: str
    annotations: Annotations | None
    indices: dict[str, Index] = field(default_factory=dict)

    @property
    def images(self) -> Index | Annotations:
        """What has the paths of the images."""
        return next(iter(self.indices.values())) if self.annotations is None else self.annotations

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def name_of(self, row: int) -> str:
        """The path of an image, relative to the data set."""
        return self.images.path(row).relative_to(self.images.root).as_posix()


@dataclass
class OpenedData:
    """A data set.

    Attributes:
        path: its folder or file.
        format: its format's name.
        tasks: those for which at least one split can be opened.
        splits: by name.
        findings: what could not be opened.
    """

    path: Path
    format: str
    tasks: tuple[str, ...]
    splits: dict[str, OpenedSplit] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def find_for_tasks(path: str | Path, task: str | None, format: str | None) -> tuple[DataSet, tuple[str, ...]]:
    """A data set with its format, and the task that is asked for, or else all tasks that the format may have labels for.

    Raises:
        DataError: it is missing, empty, of unknown format, or without labels for the task.
        UnknownName: there is no such task or format.
    """
    if task is None:
        data_set = find_data(path, None, format)
        return data_set, tuple(all_readers()[data_set.format].tasks)
    get_task(task)
    return find_data(path, task, format), (task,)


def column_of_images(path: Path, format: str, column: str, options: ReadOptions) -> Mapping[str, object] | None:
    """A column of a data set's tables by the image's path, see `AnnotationReader.image_values`."""
    reader = all_readers()[format]
    return reader.image_values(path, column, options) if isinstance(reader, AnnotationReader) else None


class SplitOpener:
    """Opens the splits of a data set; what several splits are drawn from is read once.

    Args:
        path: the data set.
        format: its format's name.
        tasks: the tasks.
        options: of the readers; the classes of train hold for the other splits.
    """

    def __init__(self, path: Path, format: str, tasks: tuple[str, ...], options: ReadOptions) -> None:
        self.path, self.tasks, self.options = path, tasks, options
        self.reader: Reader = all_readers()[format]
        self.classes: dict[str, tuple[str, ...] | None] = dict.fromkeys(tasks, options.classes)
        self.findings: list[Finding] = []
        self.refusals: dict[tuple[str, str], DataError] = {}
        self.kinds = frozenset(kind for task in tasks for kind in get_task(task).data.source_kinds)
        reader = self.reader
        self._available = reader.splits_for(path, self.kinds, options) if isinstance(reader, AnnotationReader) else ()
        self._loaded: dict[tuple[str | None, tuple[str, ...] | None], Annotations] = {}

    def keep_annotated_tasks(self) -> None:
        """Of several tasks keeps those whose own kinds of annotations occur, or else those that can be derived from what occurs."""
        if len(self.tasks) == 1 or not isinstance(self.reader, AnnotationReader):
            return
        kinds: set[str] = set()
        for source in self._available or (None,):
            with contextlib.suppress(DataError):  # reported when the split is opened
                kinds |= self._load(self.reader, source, None).kinds
        data = {task: get_task(task).data for task in self.tasks}
        direct = tuple(task for task, each in data.items() if each.direct_kinds & kinds)
        derived = tuple(task for task, each in data.items() if each.source_kinds & kinds)
        self.tasks = direct or derived or self.tasks
        apart = (
            self.reader.kinds_in(self.path) - kinds
            if type(self.reader).kinds_in is not AnnotationReader.kinds_in
            else ()
        )
        named = set(self.tasks)
        for kind in sorted(apart):  # kept apart from the others, and read for their own tasks only
            for task in [name for name, each in data.items() if kind in each.direct_kinds and name not in named]:
                named.add(task)
                message = f"the data set also has {kind} for task {task}, which are not checked here"
                self.findings.append(Finding("other_task", "info", message, 1, cure=f"check them with --task {task}"))

    def open(self, split: str) -> OpenedSplit | None:
        """One split; None if it can be opened for no task. The reasons are in ``refusals``, by split and task.

        Raises:
            NoSplit: the data set has splits, but not this one.
        """
        opened = self._with_annotations(split) if isinstance(self.reader, AnnotationReader) else self._indices(split)
        for task, index in opened.indices.items() if opened is not None else ():
            if split == "train" and self.classes[task] is None:
                self.classes[task] = index.labels[task].classes
        return opened

    def _with_annotations(self, split: str) -> OpenedSplit | None:
        reader = self.reader
        assert isinstance(reader, AnnotationReader)
        source, shares = source_split(self._available, split, self.path)
        opened: OpenedSplit | None = None
        rows: np.ndarray | None = None
        for task in self.tasks:
            try:
                annotations = self._load(reader, source, self.classes[task] if len(self.tasks) == 1 else None)
                opened = opened or OpenedSplit(split, annotations)
                index = index_of(annotations, task, replace(self.options, classes=self.classes[task]))
                if shares is not None and rows is None:
                    rows = reader.divided(annotations, index.strata(task), shares, split, self.options.seed)
                    note = division_note(annotations, reader.division, split, len(rows), self.options.seed)
                    index.notes.append(note)
                opened.indices[task] = index
            except DataError as error:
                self.refusals[split, task] = error
        if opened is None or (rows is None and shares is not None):
            return None
        if rows is not None and opened.annotations is not None:
            opened.annotations = opened.annotations.take(rows)
            opened.indices = {task: index.take(rows) for task, index in opened.indices.items()}
        return opened

    def _load(self, reader: AnnotationReader, source: str | None, classes: tuple[str, ...] | None) -> Annotations:
        if (source, classes) not in self._loaded:
            options = replace(self.options, classes=classes)
            self._loaded[source, classes] = reader.load_for(self.path, source, options, self.kinds)
        return self._loaded[source, classes]

    def _indices(self, split: str) -> OpenedSplit | None:
        """By a reader that gives the annotations of each task only."""
        opened = OpenedSplit(split, None)
        for task in self.tasks:
            try:
                options = replace(self.options, classes=self.classes[task])
                index = self.reader.read(self.path, task, split, options)
            except NoSplit:
                raise
            except DataError as error:
                self.refusals[split, task] = error
                continue
            if all(index.same_images(other) for other in opened.indices.values()):
                opened.indices[task] = index
        return opened if opened.indices else None


def open_all(path: Path, format: str, tasks: tuple[str, ...], options: ReadOptions, split: str | None) -> OpenedData:
    """Opens a data set.

    Args:
        tasks: those asked for; of several, only those are used that the files have annotations for.
        split: one split only; None for all.

    Raises:
        NoSplit: there is no such split.
        DataError: the data set is damaged as a whole.
    """
    opener = SplitOpener(path, format, tasks, options)
    opener.keep_annotated_tasks()
    opened = OpenedData(path, format, opener.tasks, findings=opener.findings)
    for name in SPLITS if split is None else (split,):
        try:
            one = opener.open(name)
        except NoSplit as error:
            if split is not None:
                raise
            if name in NEEDED:
                opened.findings.append(_refused(name, "", error))
            continue
        if one is not None:
            opened.splits[name] = one
    usable = {task for one in opened.splits.values() for task in one.indices}
    for about, refusal in _merged(opener.refusals):
        severe = len(tasks) == 1 or not usable or any(task in usable for _, task in about)  # a task that nobody asked
        task = (
            about[0][1] if len(tasks) > 1 and len({task for _, task in about}) == 1 else ""
        )  # for is no reason to stop
        opened.findings.append(_refused(", ".join(dict.fromkeys(name for name, _ in about)), task, refusal, severe))
    return opened


def _merged(refusals: Mapping[tuple[str, str], DataError]) -> list[tuple[list[tuple[str, str]], DataError]]:
    """Errors of one text once, as of a damaged file, with all splits and tasks that they are about."""
    errors: dict[str, DataError] = {}
    about: dict[str, list[tuple[str, str]]] = {}
    for key, error in refusals.items():
        errors.setdefault(str(error), error)
        about.setdefault(str(error), []).append(key)
    return [(about[text], error) for text, error in errors.items()]


def _refused(split: str, task: str, error: DataError, severe: bool = True) -> Finding:
    message = f"{split}: {error}"
    return Finding("refused", "error" if severe else "warning", message, 1, task=task)
