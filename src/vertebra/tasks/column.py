"""The interface of a column: the annotations of one task for all images of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


class Column(Protocol):
    """The annotations of one task for all images of a data set.

    Attributes:
        labeled: (n,) bool; False for an image that is not annotated for this task, as opposed to an image annotated as
            having no objects.
    """

    @property
    def labeled(self) -> np.ndarray: ...

    def get(self, row: int, size: tuple[int, int]) -> Any:
        """The annotation of one labeled image whose (height, width) in pixels is ``size``.

        Raises:
            DataError: the annotation cannot be read or does not fit the image; the message names the file.
        """
        ...

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts annotations outside the image, by kind, when it is decoded at this (height, width)."""
        ...

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """How the annotations of an image of this (height, width) are brought over from the size they were made for: "scaled",
        "turned", or empty.

        Raises:
            DataError: they cannot be brought over.
        """
        ...

    def take(self, rows: np.ndarray) -> Column:
        """The column of some images only."""
        ...


@runtime_checkable
class FileColumn(Column, Protocol):
    """A column whose annotations are read on demand from a file for each image.

    Attributes:
        files: (n,) bytes (dtype ``S``), their paths; empty for an image without one.
    """

    @property
    def files(self) -> np.ndarray: ...

    def path(self, row: int) -> Path:
        """An image's annotation file."""
        ...
