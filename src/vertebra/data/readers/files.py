"""Listing folders: images, sub-folders, and which of many files exist."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vertebra.preprocess.images import SUFFIXES


def folders_in(path: Path) -> list[Path]:
    """Visible sub-folders, by name."""
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def images_below(path: Path) -> list[Path]:
    """All image files in a folder and the folders below, by path."""
    found = []
    for folder, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        found += [Path(folder, name) for name in names if is_image(name)]
    return sorted(found)


def is_image(name: str) -> bool:
    """Whether a file name is that of an image."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def relative(paths: Sequence[Path], root: Path) -> list[str]:
    """Paths relative to a folder, with forward slashes."""
    return [path.relative_to(root).as_posix() for path in paths]


def exist(root: Path, names: Sequence[str]) -> np.ndarray:
    """Which of many files exist, by listing each folder once.

    Args:
        names: paths relative to ``root``, with forward slashes.

    Returns:
        (n,) bool.
    """
    listed: dict[str, set[str]] = {}
    for folder in {name.rpartition("/")[0] for name in names}:
        place = root / folder
        listed[folder] = {entry.name for entry in os.scandir(place)} if place.is_dir() else set()
    split = [name.rpartition("/") for name in names]
    return np.array([file in listed[folder] for folder, _, file in split], dtype=bool)
