"""The paths of a run's data and teacher: absolute, and resolved relative to the run folder if both were moved together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vertebra.config import SPLITS, Config, SourceConfig
from vertebra.errors import ConfigError
from vertebra.shards.remote import is_address


def with_absolute_paths(config: Config) -> Config:
    """The config with absolute paths of its data and teacher."""
    kept = config.model_copy(deep=True)
    for source in _sources(kept):
        source.path = _absolute(source.path)
        source.lists = None if source.lists is None else _absolute(source.lists)
    kept.train.teacher = None if kept.train.teacher is None else _absolute(kept.train.teacher)
    return kept


def locate(config: Config, folder: Path, recorded: str | None) -> Config:
    """A run's config with the current paths of its data and teacher.

    A path that exists is kept; otherwise the path relative to the run folder, as it was when the run began, is tried.

    Args:
        folder: the current path of the run folder.
        recorded: the run folder's absolute path when the run began, or None.
    """
    located = config.model_copy(deep=True)
    for source in _sources(located):
        if is_address(source.path):
            continue
        source.path = _existing(source.path, folder, recorded)
        source.lists = None if source.lists is None else _existing(source.lists, folder, recorded)
    teacher = located.train.teacher
    located.train.teacher = None if teacher is None else _existing(teacher, folder, recorded)
    return located


def _existing(path: str, folder: Path, recorded: str | None) -> str:
    """The first candidate that exists; the path itself if there is none."""
    return next((str(candidate) for candidate in _candidates(path, folder, recorded) if candidate.exists()), path)


def _candidates(path: str, folder: Path, recorded: str | None) -> Iterator[Path]:
    yield Path(path)
    if not Path(path).is_absolute():
        yield folder / path
    elif recorded is not None:
        yield Path(_absolute(folder / os.path.relpath(path, recorded)))


def check_data_exists(sources: list[SourceConfig], folder: Path, recorded: str | None) -> None:
    """Checks that all data of a run exist, after `locate`.

    Raises:
        ConfigError: one is missing; the message names the option for the new path.
    """
    for source in sources:
        if not is_address(source.path) and not Path(source.path).exists():
            tried = [str(candidate) for candidate in _candidates(source.path, folder, recorded)][1:]
            beside = f", nor at {tried[0]}" if tried and tried[0] != source.path else ""
            raise ConfigError(
                f"{folder}: the data of this run are not at {source.path}{beside}; give their new path: data=... (--data)"
            )


def move(config: Config, data: str | Path) -> Config:
    """A config with new paths of its data.

    Args:
        data: the path of the data set if the config has one; otherwise the folder with all of them, in place of their
            deepest common folder.

    Raises:
        ConfigError: a path does not exist.
    """
    relocated = config.model_copy(deep=True)
    paths = sorted({_absolute(source.path) for source in _sources(relocated)})
    if is_address(data) or any(map(is_address, paths)):
        return _readdressed(relocated, data, paths)
    common = paths[0] if len(paths) == 1 else os.path.commonpath(paths)
    for source in _sources(relocated):
        inside = os.path.relpath(_absolute(source.path), common)
        target = _absolute(Path(data) / inside)
        if not Path(target).exists():
            hint = (
                ""
                if len(paths) == 1
                else f" (this run has {len(paths)} data sets; 'data' (--data) is the folder of them all; or name one: "
                "data.train.0.path=PATH)"
            )
            raise ConfigError(f"data {data}: no such folder or file: {target}{hint}")
        source.path = target
        source.lists = _moved_list(source.lists, common, data)
    return relocated


def _moved_list(listed: str | None, common: str, data: str | Path) -> str | None:
    """A list that lies in the data set moves with it; others stay."""
    if listed is None or os.path.commonpath([common, _absolute(listed)]) != common:
        return listed
    return _absolute(Path(data) / os.path.relpath(_absolute(listed), common))


def _readdressed(config: Config, data: str | Path, paths: list[str]) -> Config:
    """A config of one data set that is, or becomes, an address."""
    if len(paths) > 1:
        raise ConfigError(
            f"data {data}: this run has {len(paths)} data sets, one of them at an address; name each: data.train.0.path=PATH"
        )
    if not is_address(data) and not Path(data).exists():
        raise ConfigError(f"data {data}: no such folder or file")
    for source in _sources(config):
        source.path = _absolute(data)
    return config


def _sources(config: Config) -> Iterator[SourceConfig]:
    for split in SPLITS:
        yield from getattr(config.data, split)


def _absolute(path: str | Path) -> str:
    """The absolute path without ``..``; links are not resolved. An address stays as it is."""
    return str(path) if is_address(path) else os.path.normpath(Path(path).absolute())
