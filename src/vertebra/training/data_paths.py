"""Where a run's data are: kept as absolute paths, and found beside the run where both were moved together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vertebra.config import SPLITS, Config, SourceConfig
from vertebra.errors import ConfigError


def with_absolute_paths(config: Config) -> Config:
    """The config with the paths of its data as they are from any working directory."""
    kept = config.model_copy(deep=True)
    for source in _sources(kept):
        source.path = _absolute(source.path)
    return kept


def locate(config: Config, folder: Path, recorded: str | None) -> Config:
    """A run's config with the paths at which its data are now.

    A path is taken as it is if there is something; else its place relative to the run folder is tried, as it was when the
    run began.

    Args:
        folder: the run folder as it is now.
        recorded: the run folder's absolute path when the run began, if that is known.
    """
    located = config.model_copy(deep=True)
    for source in _sources(located):
        source.path = next(
            (str(candidate) for candidate in _places(source.path, folder, recorded) if candidate.exists()), source.path
        )
    return located


def _places(path: str, folder: Path, recorded: str | None) -> Iterator[Path]:
    yield Path(path)
    if not Path(path).is_absolute():
        yield folder / path
    elif recorded is not None:
        yield Path(_absolute(folder / os.path.relpath(path, recorded)))


def check_found(sources: list[SourceConfig], folder: Path, recorded: str | None) -> None:
    """Checks that all data of a run exist, after `locate`.

    Raises:
        ConfigError: they do not; the message has the option for the new path.
    """
    for source in sources:
        if not Path(source.path).exists():
            tried = [str(candidate) for candidate in _places(source.path, folder, recorded)][1:]
            beside = f", nor at {tried[0]}" if tried and tried[0] != source.path else ""
            raise ConfigError(
                f"{folder}: the data of this run are not at {source.path}{beside}; say where they are now with --data"
            )


def move(config: Config, data: str | Path) -> Config:
    """A config whose data are elsewhere.

    Args:
        data: the data set, where the config has one; else the folder that holds them all, as the last one that had them all
            did.

    Raises:
        ConfigError: there is nothing in such a place.
    """
    relocated = config.model_copy(deep=True)
    paths = sorted({_absolute(source.path) for source in _sources(relocated)})
    common = paths[0] if len(paths) == 1 else os.path.commonpath(paths)
    for source in _sources(relocated):
        inside = os.path.relpath(_absolute(source.path), common)
        target = _absolute(Path(data) / inside)
        if not Path(target).exists():
            hint = (
                ""
                if len(paths) == 1
                else f" (this run has {len(paths)} data sets; --data is the folder of them all; or name one: "
                "data.train.0.path=PATH)"
            )
            raise ConfigError(f"--data {data}: no such folder or file: {target}{hint}")
        source.path = target
    return relocated


def _sources(config: Config) -> Iterator[SourceConfig]:
    for split in SPLITS:
        yield from getattr(config.data, split)


def _absolute(path: str | Path) -> str:
    """A path from the root on, without ``..``; links stay."""
    return os.path.normpath(Path(path).absolute())
