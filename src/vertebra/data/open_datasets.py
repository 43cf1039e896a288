"""Opens the data sets of a config's data section for the loaders."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vertebra.annotations.class_edits import class_edits
from vertebra.annotations.table import SPLITS
from vertebra.config import AUTO, Config, SourceConfig
from vertebra.data.early_check import check_path
from vertebra.data.index import Index
from vertebra.data.open import open_data
from vertebra.data.sources import Source
from vertebra.data.splits import EmptySplit, NoSplit, empty_split, fraction_rows
from vertebra.errors import ConfigError, DataError
from vertebra.parts import find
from vertebra.recipe.augment import Augment
from vertebra.tasks import column_key
from vertebra.tasks.base import LabelSpec


@dataclass
class Opened:
    """The opened data sets of one split.

    Attributes:
        sources: the data sets for the loaders.
        labels: the label specification of each branch, from its first source.
        notes: counted, named warnings of the readers.
    """

    sources: list[Source] = field(default_factory=list)
    labels: dict[str, LabelSpec] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def branch_tasks(config: Config) -> dict[str, str]:
    """The task of each branch."""
    return {
        name: branch.task or str(find("decoder", branch.decoder.name).task)
        for name, branch in config.model.branches.items()
    }


def open_split(config: Config, split: str, *, sources: Sequence[SourceConfig] | None = None) -> Opened:
    """Opens all sources of a split.

    Args:
        split: "train", "val" or "test".
        sources: replace the config's sources.

    Raises:
        DataError: a source is missing or wrong, or the split is empty.
    """
    opened = Opened()
    tasks = branch_tasks(config)
    for source in getattr(config.data, split) if sources is None else sources:
        opened_sources: list[Source] = []
        for name in source.branches or list(config.model.branches):
            key = column_key(tasks[name], str(config.model.branches[name].label_fields.get("attribute", name)))
            index = _open(source, name, key, config, split)
            opened.labels.setdefault(name, index.labels[key])
            opened.notes += [f"{source.path}: {note}" for note in index.notes]
            _add(opened_sources, Source(index, {name: key}, source.ratio, balance=source.balance is not None))
        opened.sources += opened_sources
    if not opened.sources:
        raise ConfigError(f"data.{split}: no data set is given")
    opened.notes = list(dict.fromkeys(opened.notes))
    return opened


def _open(source: SourceConfig, name: str, task: str, config: Config, split: str) -> Index:
    """The index of a source for one branch, for a task or the key of a column."""
    branch = config.model.branches[name]
    check_path(source.path)
    try:
        index = open_data(
            Path(source.path),
            task,
            source.split or split,
            format=source.format,
            classes=branch.classes,
            ignore_index=source.ignore_index,
            seed=config.train.seed,
            multilabel=branch.multilabel,
            lists=source.lists,
            edits=class_edits(source.classes, source.drop_classes, source.ignore_classes),
            columns=source.columns,
            annotated=source.annotated,
            outlines=split == "train" and _rotates(config),
        )
    except NoSplit as missing:
        raise NoSplit(f"{missing}{_further_problem(source, task)}") from None
    if source.fraction < 1:
        index = index.take(fraction_rows(index.strata(task), source.fraction, config.train.seed))
    if not len(index):
        raise EmptySplit(empty_split(source.path, source.split or split, _images(source, task)))
    return index


def _further_problem(source: SourceConfig, task: str) -> str:
    """What is wrong with the splits that a data set has, where another one is missing; "" if one of them can be read."""
    problem = ""
    for split in SPLITS:
        try:
            open_data(Path(source.path), task, split, format=source.format, columns=source.columns)
        except NoSplit:
            continue
        except DataError as error:
            problem = problem or f". Nor can its split '{split}' be read: {error}"
        else:
            return ""
    return problem


def _rotates(config: Config) -> bool:
    """Whether training rotates images freely or changes their perspective."""
    chosen = config.train.augment
    if chosen.is_object:
        return False
    augment = Augment.from_options("default" if chosen.name == AUTO else chosen.name, chosen.options)
    return bool(augment.rotate or augment.perspective)


def _images(source: SourceConfig, task: str) -> int:
    """The number of images of a data set, over all splits."""
    count = 0
    for split in SPLITS:
        with contextlib.suppress(NoSplit):
            count += len(open_data(Path(source.path), task, split, format=source.format, columns=source.columns))
    return count


def _add(sources: list[Source], source: Source) -> None:
    """Adds the source of one branch, merged with that of another task on the same images, so each image is loaded once."""
    for row, other in enumerate(sources):
        if not set(source.index.columns) & set(other.index.columns) and other.index.same_images(source.index):
            index = other.index.joined(source.index)
            sources[row] = replace(other, index=index, branches={**other.branches, **source.branches})
            return
    sources.append(source)
