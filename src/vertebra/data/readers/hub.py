"""Data sets of the Hugging Face hub by name, ``hf:OWNER/NAME`` or ``hf:OWNER/NAME:CONFIG``, through the package ``datasets``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from vertebra.data.splits import split_of
from vertebra.errors import DataError, first_line, install_command
from vertebra.shards.remote import HUB

OLDEST = 4  # older versions can run code of a data set
_NAME = re.compile(r"^hf:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?$")


def is_hub_name(path: Path) -> bool:
    """Whether a path is a name on the hub."""
    return os.fspath(path).startswith(HUB)


@lru_cache(maxsize=16)
def hub_files(path: Path) -> dict[str, Sequence[Path]]:
    """The Arrow files of each split of a data set of the hub, downloaded into the cache folder of ``datasets`` once.

    Raises:
        DataError: the name is wrong, the package is missing or old, or the data set cannot be loaded.
    """
    match = _NAME.match(path.as_posix())
    if match is None:
        raise DataError(f"{path}: no name of a data set; write hf:OWNER/NAME, or hf:OWNER/NAME:CONFIG")
    try:
        import datasets
    except ImportError:
        raise DataError(f"{path}: needs the package datasets: {install_command('hub')}") from None
    version = str(datasets.__version__)
    if int(version.partition(".")[0]) < OLDEST:
        raise DataError(
            f"{path}: datasets {version} can run code that comes with a data set; install version {OLDEST} or newer: "
            f"{install_command('hub')}"
        )
    try:
        loaded = datasets.load_dataset(match["name"], match["config"])
    except Exception as error:  # of any kind: the network, the hub and each format have their own
        raise DataError(f"{path}: cannot be loaded from the hub ({first_line(error)})") from error
    parts = dict(loaded) if hasattr(loaded, "keys") else {"": loaded}
    files: dict[str, Sequence[Path]] = {}
    for name, part in parts.items():
        split = split_of(str(name)) or ""
        files[split] = [*files.get(split, ()), *(Path(entry["filename"]) for entry in part.cache_files)]
    if not any(files.values()):
        raise DataError(f"{path}: it has no Arrow files")
    return files
