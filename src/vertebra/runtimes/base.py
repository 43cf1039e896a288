"""What a runtime of exported files must be, and what it opens: the protocols that each file of this folder implements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

Shape = list[int | None]
"""The size of each dimension of an input or output; None where it is free."""


class Session(Protocol):
    """An exported file, opened in its runtime. Any number of threads may run it at the same time.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is no number.
    """

    inputs: dict[str, Shape]
    outputs: dict[str, Shape]

    def run(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """All outputs in their order.

        Args:
            arrays: the inputs in their order, contiguous: canvases ``images`` (N, C, height, width) uint8 and ``sizes`` (N, 2)
                int64, (height, width) of each one's valid pixels; or ``pixels`` (N, H, W, C) uint8, images of one size.
        """


class SessionOptions(NamedTuple):
    """How a file is opened.

    Attributes:
        threads: of the CPU; None for all that this process may use.
        precision: what is computed in, where the runtime chooses; None for what the file was exported in.
        device: "cpu", "cuda" …; None for the runtime's default.
    """

    threads: int | None = None
    precision: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class FileFormat:
    """A format of exported files.

    Attributes:
        suffix: of a file's name, in lower case: ".onnx".
        title: its name for people: "ONNX".
        read_metadata: verifies a file before a runtime opens it, and returns its metadata (JSON), or None where it has none. Raises
            `vertebra.errors.WeightsError` where the file is missing or damaged, or contains what Vertebra does not write.
        weights_suffix: of a second file beside it that holds the weights; "" where there is none.
    """

    suffix: str
    title: str
    read_metadata: Callable[[Path], str | None]
    weights_suffix: str = ""

    def files(self, path: Path) -> list[Path]:
        """All files of one export: the weights' file first, so that none is ever without its weights."""
        return [*([path.with_suffix(self.weights_suffix)] if self.weights_suffix else []), path]


class Runtime(Protocol):
    """A library that runs exported files.

    Attributes:
        name: the name by which users choose it: "onnx".
        formats: what it opens.
        precisions: those that it can compute any file in; empty where a file computes in what it was exported in.
        gpu_only: whether it runs on a GPU only.
    """

    @property
    def name(self) -> str: ...

    @property
    def formats(self) -> tuple[FileFormat, ...]: ...

    @property
    def precisions(self) -> tuple[str, ...]: ...

    @property
    def gpu_only(self) -> bool: ...

    def open(self, path: Path, options: SessionOptions) -> Session:
        """Opens a file that was verified.

        Raises:
            ConfigError: the library is not installed, or an option does not fit it.
            WeightsError: it cannot read the file.
        """
