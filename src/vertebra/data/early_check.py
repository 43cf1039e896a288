"""Refuses data sets of a config that cannot be read, before a training imports torch, which takes seconds."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vertebra.annotations.class_edits import class_edits
from vertebra.config import Config, DataConfig, SourceConfig
from vertebra.config_short_forms import expand_data
from vertebra.data.lists import list_file, read_list
from vertebra.data.open import TABLE, find_data, open_data
from vertebra.errors import DataError, shortened
from vertebra.shards.remote import is_address
from vertebra.tasks import all_tasks
from vertebra.validation import validate


def check_sources(raw: Mapping[str, Any], where: str) -> None:
    """Checks that the data sets for training exist, are of a known format with labels for the task, and that their lists can be
    read. With a list, the training images of a config with a single task are opened.

    Args:
        raw: the config as plain values, short forms allowed.
        where: its name, for messages.

    Raises:
        VertebraError: a data set or a list is missing or wrong; a training would find the same later.
    """
    data, model = raw.get("data"), raw.get("model")
    if data is None or not isinstance(model, Mapping):
        return
    config: Config | None = None
    if model.get("task") in all_tasks():
        config = Config.from_raw(raw, where)
    of_splits = config.data if config else validate(DataConfig, expand_data(data, f"{where}: data"), "data")
    for split in ("train", "val"):
        for source in getattr(of_splits, split):
            check_path(source.path)
            if not is_address(source.path):
                _check_source(source, split, config)


def _check_source(source: SourceConfig, split: str, config: Config | None) -> None:
    task, branch = next(iter(config.model.branches.items())) if config else (None, None)
    find_data(source.path, task, TABLE if source.columns and source.format is None else source.format)
    if source.lists is None:
        return
    wanted = source.split or split
    read_list(list_file(source.lists, wanted))
    if config and branch and task and split == "train":
        open_data(
            source.path,
            task,
            wanted,
            format=source.format,
            classes=branch.classes,
            ignore_index=source.ignore_index,
            seed=config.train.seed,
            multilabel=branch.multilabel,
            lists=source.lists,
            edits=class_edits(source.classes, source.drop_classes, source.ignore_classes),
            columns=source.columns,
            annotated=source.annotated,
        )


def check_path(path: str) -> None:
    """Checks that a path can be a data set. A missing path is reported on opening.

    Raises:
        DataError: the path cannot be accessed, or is a device, a pipe, or the root folder.
    """
    if is_address(path):
        return
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{shortened(path, 200)}: cannot be opened: {error.strerror}") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise DataError(f"{path}: neither a folder nor a file")
    if Path(path).resolve() == Path(path).resolve().parent:
        raise DataError(f"{path}: the whole file system is no data set; name a folder in it")
