"""The interface of a runtime for exported files; each other file of this folder is one runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

Shape = list[int | None]
"""The size of each dimension of an input or output; None where it is free."""


class Session(Protocol):
    """An exported file, opened in its runtime. Any number of threads may run it at the same time.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is not a number.
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
    """The options of an opened file.

    Attributes:
        threads: of the CPU; None for all that this process may use.
        precision: of the computation, for runtimes that can choose it; None for the precision of the file.
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
        fixed_canvas: why its files take canvases of one size only; "" where their size may be free.
    """

    suffix: str
    title: str
    read_metadata: Callable[[Path], str | None]
    weights_suffix: str = ""
    fixed_canvas: str = ""

    def files(self, path: Path) -> list[Path]:
        """All files of one export: the weights' file first, so that none is ever without its weights."""
        return [*([path.with_suffix(self.weights_suffix)] if self.weights_suffix else []), path]


class Runtime(ABC):
    """A library that runs exported files.

    Attributes:
        name: the name that users pass: "onnx".
        formats: the formats that it opens; the first one is its own.
        precisions: the precisions in which it can run any file; empty if a file runs in the precision it was exported in.
        gpu_only: whether it runs on a GPU only.
        takes_threads: whether a number of CPU threads can be set.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[FileFormat, ...]]
    precisions: ClassVar[tuple[str, ...]] = ()
    gpu_only: ClassVar[bool] = False
    takes_threads: ClassVar[bool] = True

    @abstractmethod
    def open(self, path: Path, options: SessionOptions) -> Session:
        """Opens a verified file.

        Raises:
            ConfigError: the library is not installed, or an option does not fit it.
            WeightsError: it cannot read the file.
        """
