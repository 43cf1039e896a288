"""Paths of images as a column."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np


def path_column(paths: Sequence[str]) -> np.ndarray:
    """Relative paths as the ``images`` column of an index."""
    if paths and "".join(paths).isascii():
        return np.array(paths, dtype=np.str_).astype(np.bytes_)
    return np.array([os.fsencode(path) for path in paths], dtype=np.bytes_) if paths else np.zeros(0, dtype="S1")
