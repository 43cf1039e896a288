"""The labeled images on which a model is measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from vertebra.config import Config, read_raw
from vertebra.data.loaders import Loader
from vertebra.data.open_datasets import Opened
from vertebra.errors import ConfigError, DataError
from vertebra.evaluation.measured_data import DataChoice, open_measured
from vertebra.keywords import check_path
from vertebra.messages import emit
from vertebra.model_info import ModelInfo
from vertebra.training.data_paths import check_data_exists, locate
from vertebra.training.folder import CONFIG
from vertebra.training.loaders import choose_workers, evaluation_loader
from vertebra.training.record import recorded_folder
from vertebra.training.selection import unlabeled_note


class _RequiredOptions(TypedDict):
    split: str
    data: str | os.PathLike[str] | None
    batch_size: int


class LabeledOptions(_RequiredOptions, total=False):
    """The options of `labeled`, for functions that pass them on; type checkers then refuse any other name."""

    branches: Sequence[str] | None
    ignore_index: int | None
    rename_classes: Mapping[str, str] | None


def labeled(
    source: str | Path | None,
    info: ModelInfo,
    config: Mapping[str, Any] | None,
    *,
    split: str,
    data: str | os.PathLike[str] | None,
    batch_size: int,
    branches: Sequence[str] | None = None,
    ignore_index: int | None = None,
    rename_classes: Mapping[str, str] | None = None,
) -> Loader:
    """The labeled images on which a model is measured, in order.

    Args:
        source: the run folder or file that the model is from, or None; its run's data are the default.
        info: of the model.
        config: the config of the model.
        split: "train", "val" or "test".
        data: a data set for all branches; None: the run's data.
        batch_size: images at a time.
        branches, ignore_index, rename_classes: see `vertebra.evaluation.measured_data.DataChoice`.

    Raises:
        ConfigError: no data are given, or an unknown branch or class.
        DataError: there is no such split, or the data cannot be used.
    """
    if split not in ("train", "val", "test"):
        raise DataError(f"split '{split}' does not exist; choose train, val or test")
    choice = DataChoice(None if data is None else check_path("data", data), branches, ignore_index, rename_classes)
    run, opened = open_chosen(source, info, config, split, choice)
    return opened_loader(info, run, opened, batch_size)


def opened_loader(info: ModelInfo, run: Config, opened: Opened, batch_size: int) -> Loader:
    """The images of an opened split; prints the notes of reading it.

    Args:
        run: the run's config, or one made for the data.
    """
    emit(*opened.notes)
    loader = evaluation_loader(info, opened.sources, batch_size, choose_workers(run.train.workers))
    measured = dict.fromkeys(name for source in opened.sources for name in source.branches)
    emit(*(unlabeled_note(name) for name in measured if not loader.dataset.measurable(name)))
    return loader


def open_chosen(
    source: str | Path | None, info: ModelInfo, config: Mapping[str, Any] | None, split: str, choice: DataChoice
) -> tuple[Config, Opened]:
    """The run's config, or one made for the data, and the data of a split; see `labeled`."""
    folder = run_folder_of(source)
    recorded = None
    if folder is not None:
        raw = read_raw(folder / CONFIG)
        recorded = recorded_folder(folder)
    elif choice.path is None:
        what = (
            "this model comes from no run" if source is None else f"{source} is a model file without its run's {CONFIG}"
        )
        raise ConfigError(f"{what}; name a data set: data=... (--data)")
    elif config is None:
        raise ConfigError("this model has no config; build it with vertebra.create_model, which names its parts")
    else:
        raw = {"data": str(choice.path), "model": config}
    run = Config.from_raw(raw, str(source if folder is None else folder / CONFIG))
    for name, branch in run.model.branches.items():
        branch.classes = list(info.branches[name][1].classes)
    if folder is not None:
        run = locate(run, folder, recorded)
        if choice.path is None:
            check_data_exists(getattr(run.data, split), folder, recorded)
    return run, open_measured(run, split, choice)


def run_folder_of(source: str | Path | None) -> Path | None:
    """The run folder that a model is from: the folder itself, or that of a file in it; None for any other model."""
    if source is None:
        return None
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    return folder if (folder / CONFIG).exists() else None
