"""A graph that ``torch.export`` wrote, opened like the files of other runtimes."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

import vertebra.geometry.nms  # noqa: F401 - the operator that graphs of detectors call
from vertebra.cpus import limit_torch
from vertebra.errors import WeightsError
from vertebra.inference.metadata import KEY
from vertebra.inference.onnx_session import first_line

_OPENING = Lock()  # torch reads one file at a time


class TorchSession:
    """A ``.pt2`` file in PyTorch, on the CPU. It holds a graph of operators, and nothing in it is executed but these.

    Args:
        path: the file.
        threads: of the CPU that torch may use, for the whole process; None leaves that as it is.

    Attributes:
        metadata: what the file says of itself, or None.
        inputs, outputs: by name, the shape; a free dimension is None.

    Raises:
        WeightsError: the file is missing, or torch cannot read it.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        if not path.is_file():
            raise WeightsError(f"{path}: no such file")
        if threads is None:
            limit_torch()
        else:
            torch.set_num_threads(threads)
        extra = {KEY: ""}
        try:
            with _OPENING:
                program = torch.export.load(path, extra_files=extra)
                self._run: Any = program.module()
        except Exception as error:  # torch raises what it meets
            raise WeightsError(f"{path}: torch cannot open it ({first_line(error)})") from error
        self.metadata: str | None = extra[KEY] or None
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


def _shape(value: Any) -> list[int | None]:
    return [side if isinstance(side, int) else None for side in value.shape]
