"""The interface of a reader: from a data set on disk to the index of one of its splits."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from vertebra.data.index import Index
from vertebra.data.readers.options import ReadOptions


@runtime_checkable
class Reader(Protocol):
    """Reads data sets of one format.

    A reader of another package is an object with these members behind an entry point of the group ``vertebra.readers``.
    """

    @property
    def name(self) -> str:
        """The format's name in configs and on the command line: "coco"."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose annotations the format has."""

    @property
    def summary(self) -> str:
        """A short description of the format, for the message about unknown formats."""

    def looks_like(self, path: Path) -> bool:
        """Whether a data set has this format; must be fast, and False for all other formats.

        Args:
            path: a folder that is not empty, or a file.
        """

    def read(self, path: Path, task: str, split: str, options: ReadOptions) -> Index:
        """One split of a data set.

        Args:
            path: a folder or a file that exists.
            task: one of ``tasks``.
            split: "train", "val" or "test"; see `vertebra.data.splits` for data sets without splits.
            options: the same for all readers.

        Returns:
            The images, with a column of annotations and the labels for ``task``.

        Raises:
            DataError: there is no such split, or the data cannot be used; the message names the file and a fix.
        """
