"""What an export target must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from vertebra.errors import ExportError
from vertebra.export.job import ExportJob
from vertebra.runtimes.base import FileFormat, Runtime, Session, SessionOptions


class PixelFile(NamedTuple):
    """A file that takes images as they are, with its preprocessing inside.

    Attributes:
        path: the file.
        outputs: by name, the type of each of its outputs in order.
        differences: by size of the image, the largest difference from the file that takes canvases.
    """

    path: Path
    outputs: Mapping[str, str]
    differences: Mapping[str, float]


class ExportTarget(ABC):
    """One kind of exported file. An instance writes one file, and may keep between its steps what it needs again.

    `vertebra.export.export_model` calls `write`, compares the file with the model, calls `write_pixels` if the user asks for a
    file that takes pixels, and then `write_metadata`. Only then does the file get its name.

    Attributes:
        name: by which users choose it.
        format: of its files; the end of a file's name chooses the target, too.
        runtime: what opens its files, to compare them and later to predict.
        packages: the packages without which it cannot write, besides torch.
        extra: the optional group of ``pyproject.toml`` that installs them.
        precisions: of "fp32", "fp16" and "int8", those that its files may have.
        takes_pixels: whether it can write files with preprocessing inside.
        max_weight_bytes: the most that one file can hold; None where there is no limit.
    """

    name: ClassVar[str]
    format: ClassVar[FileFormat]
    runtime: ClassVar[Runtime]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "export"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    takes_pixels: ClassVar[bool] = False
    max_weight_bytes: ClassVar[int | None] = None

    @abstractmethod
    def write(self, job: ExportJob, folder: Path, *, free: bool) -> Path:
        """Writes a file whose inputs are ``images`` (N, C, height, width) uint8 and ``sizes`` (N, 2) int64, with any batch size N,
        and whose outputs are the decoded ones, in the order of ``job.names``.

        Args:
            job: the model, and what it is exported as.
            folder: for this file and any others that are needed on the way; it is removed afterwards.
            free: whether the canvas' height and width are left free.

        Returns:
            The file, in ``folder``.

        Raises:
            ExportError: the model cannot be written so.
        """

    @abstractmethod
    def write_metadata(self, path: Path, metadata: str) -> None:
        """Writes the metadata (JSON) into a file of `write` or `write_pixels`, for ``format.read_metadata`` to find."""

    def write_pixels(self, job: ExportJob, network: Path, folder: Path, *, class_maps: bool) -> PixelFile:
        """Writes a file whose one input is ``pixels`` (N, H, W, C) uint8, images of any size. Called if ``takes_pixels``.

        Args:
            job: as of `write`.
            network: the file that `write` gave, compared with the model.
            folder: as of `write`.
            class_maps: whether a branch that segments gives the class of each pixel, and no probabilities.

        Raises:
            ExportError: the file differs from ``network``.
        """
        raise ExportError(f"a {self.format.suffix} file takes canvases, not pixels")

    def open(self, path: Path) -> Session:
        """A file of this target, opened on the CPU."""
        return self.runtime.open(path, SessionOptions())
