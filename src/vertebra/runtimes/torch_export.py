"""A graph that ``torch.export`` wrote, opened like the files of other runtimes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

import vertebra.geometry.nms  # noqa: F401 - the operator that graphs of detectors call
from vertebra.cpus import limit_torch
from vertebra.errors import WeightsError
from vertebra.runtimes.model_files.pt2_archive import sanitized_copy
from vertebra.runtimes.onnx import first_line

_OPENING = Lock()  # torch reads one file at a time


class TorchSession:
    """A ``.pt2`` file in PyTorch, on the CPU. It holds a graph of operators, and nothing in it is executed but these: it is read
    and checked before PyTorch sees it (`vertebra.runtimes.model_files.pt2_archive`).

    Args:
        path: the file.
        threads: of the CPU that torch may use, for the whole process; None leaves that as it is.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is None.

    Raises:
        WeightsError: the file is missing or damaged, or holds anything that an export of Vertebra does not.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        archive = sanitized_copy(path)
        limit_torch()  # before what is asked for, which stays
        if threads is not None:
            torch.set_num_threads(threads)
        logged: list[BaseException] = []
        try:
            with _OPENING, _logged_errors(logged):
                program = torch.export.load(archive)
                self._run: Any = program.module()
        except Exception as error:  # torch raises what it meets
            reason = first_line(logged[0] if logged else error)
            raise WeightsError(f"{path}: torch cannot open it ({reason})") from error
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        signature = program.graph_signature
        self.inputs = dict(
            zip(("images", "sizes"), (_shape(values[name]) for name in signature.user_inputs), strict=True)
        )
        self.outputs = {str(place): _shape(values[str(name)]) for place, name in enumerate(signature.user_outputs)}

    @torch.inference_mode()
    def run(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """All outputs in their order; see `Session.run`."""
        return [value.numpy() for value in self._run(*map(torch.from_numpy, arrays))]


@contextmanager
def _logged_errors(found: list[BaseException]) -> Iterator[None]:
    """Takes the errors that ``torch.export`` logs with their traceback out of its log, into ``found``."""

    def keep(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            found.append(record.exc_info[1])
        return not record.exc_info

    log = logging.getLogger("torch.export")
    log.addFilter(keep)
    try:
        yield
    finally:
        log.removeFilter(keep)


def _shape(value: Any) -> list[int | None]:
    return [side if isinstance(side, int) else None for side in value.shape]
