"""The PyTorch runtime for graphs of ``torch.export``, and ``.pt2`` files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from vertebra.cpus import limit_torch
from vertebra.errors import ConfigError, WeightsError, first_line
from vertebra.runtimes.base import FileFormat, Runtime, Session, SessionOptions
from vertebra.runtimes.model_files.pt2_archive import read_metadata, sanitized_copy

_OPENING = Lock()  # torch reads one file at a time
TORCH_EXPORT = FileFormat(".pt2", "torch.export", lambda path: read_metadata(path))


class TorchSession:
    """A ``.pt2`` file in PyTorch, on the CPU. Only the operators of its graph are executed: the file is validated before PyTorch
    reads it (`vertebra.runtimes.model_files.pt2_archive`).

    Args:
        path: the file.
        threads: CPU threads of torch, for the whole process; None for no change.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is None.

    Raises:
        WeightsError: the file is missing or damaged, or contains anything that Vertebra does not write.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import torch

        import vertebra.geometry.nms  # noqa: F401 - the operator that graphs of detectors call

        archive = sanitized_copy(path)
        limit_torch()  # before an explicit number of threads, which overrides it
        if threads is not None:
            torch.set_num_threads(threads)
        logged: list[BaseException] = []
        try:
            with _OPENING, _logged_errors(logged):
                program = torch.export.load(archive)
                self._run: Any = program.module()
        except Exception as error:  # torch may raise anything
            reason = first_line(logged[0] if logged else error)
            raise WeightsError(f"{path}: torch cannot open it ({reason})") from error
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        signature = program.graph_signature
        self.inputs = dict(
            zip(("images", "sizes"), (_shape(values[name]) for name in signature.user_inputs), strict=True)
        )
        self.outputs = {str(row): _shape(values[str(name)]) for row, name in enumerate(signature.user_outputs)}

    def run(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """All outputs in their order; see `Session.run`."""
        import torch

        with torch.inference_mode():
            return [value.numpy() for value in self._run(*map(torch.from_numpy, arrays))]


class TorchExportRuntime(Runtime):
    """PyTorch, for graphs of ``torch.export``, on the CPU in fp32."""

    name = "torch"
    formats = (TORCH_EXPORT,)

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `vertebra.runtimes.base.Runtime.open`."""
        if options.device not in (None, "cpu") or options.precision not in (None, "fp32"):
            raise ConfigError("a .pt2 file runs on the CPU in fp32 only; leave out device and precision")
        return TorchSession(path, options.threads)


@contextmanager
def _logged_errors(errors: list[BaseException]) -> Iterator[None]:
    """Moves the errors that ``torch.export`` logs with their traceback from its log to ``errors``."""

    def collect(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            errors.append(record.exc_info[1])
        return not record.exc_info

    log = logging.getLogger("torch.export")
    log.addFilter(collect)
    try:
        yield
    finally:
        log.removeFilter(collect)


def _shape(value: Any) -> list[int | None]:
    return [side if isinstance(side, int) else None for side in value.shape]
