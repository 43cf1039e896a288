"""The data for evaluating a trained model: those of its run or others, with the model's class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vertebra.config import Config, SourceConfig
from vertebra.data.open_datasets import Opened, open_split
from vertebra.errors import ConfigError, UnknownName
from vertebra.shards.remote import is_address


@dataclass(frozen=True)
class DataChoice:
    """The data for an evaluation.

    Attributes:
        path: a data set for all branches; None: the run's data.
        branches: the branches to evaluate; None for all.
        ignore_index: mask value of pixels that do not count; None: that of the run's config.
        rename_classes: from class names of the data set at ``path`` to those of the model; same names need no entry.
    """

    path: str | Path | None = None
    branches: Sequence[str] | None = None
    ignore_index: int | None = None
    rename_classes: Mapping[str, str] | None = None


def open_measured(run: Config, split: str, choice: DataChoice) -> Opened:
    """Opens a split for an evaluation.

    Args:
        run: the config, whose branches have the model's classes.

    Raises:
        ConfigError: an unknown branch or class, or renamed classes of the run's data.
        DataError: the data cannot be used.
    """
    for name in choice.branches or ():
        if name not in run.model.branches:
            raise UnknownName("branch", name, run.model.branches)
    if choice.rename_classes and choice.path is None:
        raise ConfigError("classes are renamed of another data set than the run's; name it: data=... (--data)")
    notes: list[str] = []
    sources = [_with_choice(source, choice) for source in _sources(run, split, choice, notes)]
    sources = [source for source in sources if source.branches != []]
    if not sources:
        raise ConfigError(f"data.{split}: no data set is labeled for branch '{', '.join(choice.branches or ())}'")
    opened = (
        _open_renamed(run, split, sources, choice.rename_classes)
        if choice.rename_classes
        else open_split(run, split, sources=sources)
    )
    opened.notes = [*notes, *opened.notes]
    return opened


def _sources(run: Config, split: str, choice: DataChoice, notes: list[str]) -> list[SourceConfig]:
    """The run's sources of a split, or another data set.

    If another data set is one of the run's sources, it has the same options. Otherwise the ignore index is that of the run, if
    all of its sources have the same one, with a note.
    """
    if choice.path is None:
        return list(getattr(run.data, split))
    path = _resolved(choice.path)
    for name in (split, "train", "val", "test"):
        known = [source for source in getattr(run.data, name) if _resolved(source.path) == path]
        if known:  # several if each is for some of the branches
            return known if name == split else [source.model_copy(update=_without_split(source)) for source in known]
    sources: list[SourceConfig] = [*run.data.train, *run.data.val, *run.data.test]
    ignored = {source.ignore_index for source in sources if source.ignore_index is not None}
    value = ignored.pop() if len(ignored) == 1 else None
    if value is not None and choice.ignore_index is None:
        notes.append(
            f"{choice.path}: mask value {value} is ignored, as in the run's config; change it: ignore_index=... (--ignore-index)"
        )
    return [SourceConfig(path=str(choice.path), ignore_index=value)]


def _without_split(source: SourceConfig) -> dict[str, object]:
    """The fields of a source for another split: a list is kept if it is a folder with one for each split."""
    of_all = source.lists is not None and Path(source.lists).is_dir()
    return {"split": None, "lists": source.lists if of_all else None}


def _resolved(path: str | Path) -> str:
    return str(path) if is_address(path) else str(Path(path).resolve())


def _with_choice(source: SourceConfig, choice: DataChoice) -> SourceConfig:
    """A source restricted to the chosen branches (an empty list: none of them), with the chosen ignore index."""
    changes: dict[str, object] = {}
    if choice.branches is not None:
        labeled = source.branches
        changes["branches"] = [name for name in choice.branches if labeled is None or name in labeled]
    if choice.ignore_index is not None:
        changes["ignore_index"] = choice.ignore_index
    return source.model_copy(update=changes)


def _open_renamed(
    run: Config, split: str, sources: Sequence[SourceConfig], rename_classes: Mapping[str, str]
) -> Opened:
    """Opens sources whose classes have other names than the model's.

    The readers get the classes that are mapped to the model's, by their names in the data.
    """
    plain = run.model_copy(deep=True)
    for branch in plain.model.branches.values():
        branch.classes = None
    data_labels = open_split(plain, split, sources=sources).labels
    model_classes = {name: list(run.model.branches[name].classes or []) for name in data_labels}
    for old, new in rename_classes.items():
        if not any(old in labels.classes for labels in data_labels.values()):
            raise UnknownName(
                f"class of {sources[0].path}", old, [name for labels in data_labels.values() for name in labels.classes]
            )
        if not any(new in classes for classes in model_classes.values()):
            raise UnknownName(
                "class of the model", new, [name for classes in model_classes.values() for name in classes]
            )
    for name, labels in data_labels.items():
        fitting = [label for label in labels.classes if rename_classes.get(label, label) in model_classes[name]]
        if not fitting:
            raise ConfigError(
                f"branch '{name}': none of the renamed classes is one of its classes ({', '.join(model_classes[name][:8])})"
            )
        plain.model.branches[name].classes = fitting
    opened = open_split(plain, split, sources=sources)
    opened.sources = [replace(source, rename_classes=rename_classes) for source in opened.sources]
    return opened


def read_renames(entries: Sequence[str]) -> dict[str, str]:
    """Renamed classes from the entries of a command line: ``cat=animal``, one for each class.

    Raises:
        ConfigError: an entry has another form, or a class occurs twice.
    """
    rename_classes: dict[str, str] = {}
    for entry in entries:
        old, sign, new = entry.partition("=")
        if not sign or not old or not new:
            raise ConfigError(
                f"--rename-class '{entry}' must be NAME=NAME: the data's class, then the model's, such as cat=animal"
            )
        if rename_classes.setdefault(old, new) != new:
            raise ConfigError(f"--rename-class: class '{old}' becomes '{rename_classes[old]}' and '{new}'; choose one")
    return rename_classes
