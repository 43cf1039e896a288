"""The interface of an export target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from vertebra.errors import ExportError
from vertebra.export.job import ExportJob
from vertebra.runtimes.base import FileFormat, Runtime, Session, SessionOptions


class PixelFile(NamedTuple):
    """A file that takes images of any size, with preprocessing inside.

    Attributes:
        path: the file.
        outputs: the types of its outputs by name, in order.
        differences: the largest difference from the file that takes canvases, by image size.
    """

    path: Path
    outputs: Mapping[str, str]
    differences: Mapping[str, float]


class ExportTarget(ABC):
    """One exported file format. An instance writes one file, and may keep state between its steps.

    `vertebra.export.export_model` calls `write`, compares the file with the model, calls `write_pixels` for a file that takes
    pixels, and then `write_metadata`. Only then is the file moved to its name.

    Attributes:
        name: the name that users pass.
        format: of its files; the suffix of a file's name also selects the target.
        runtime: that opens its files, for the comparison and for prediction.
        packages: the packages that it needs, besides torch.
        extra: the optional group of ``pyproject.toml`` that installs them.
        precisions: the supported ones of "fp32", "fp16" and "int8".
        takes_pixels: whether it can write files with preprocessing inside.
        max_weight_bytes: the largest size of the weights; None for no limit.
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
            job: the model and the options of the export.
            folder: for this file and temporary ones; it is removed afterwards.
            free: whether the canvas' height and width are left free.

        Returns:
            The file, in ``folder``.

        Raises:
            ExportError: the model cannot be written in this format.
        """

    @abstractmethod
    def write_metadata(self, path: Path, metadata: str) -> None:
        """Writes the metadata (JSON) into a file of `write` or `write_pixels`, for ``format.read_metadata`` to find."""

    def write_pixels(self, job: ExportJob, network: Path, folder: Path, *, class_maps: bool) -> PixelFile:
        """Writes a file with the single input ``pixels`` (N, H, W, C) uint8, images of any size. Called if ``takes_pixels``.

        Args:
            job: see `write`.
            network: the file that `write` returned, compared with the model.
            folder: see `write`.
            class_maps: whether segmentation branches output the class of each pixel instead of probabilities.

        Raises:
            ExportError: the file differs from ``network``.
        """
        raise ExportError(f"a {self.format.suffix} file takes canvases, not pixels")

    def open(self, path: Path) -> Session:
        """A file of this target, opened on the CPU."""
        return self.runtime.open(path, SessionOptions())
