"""The runtime ExecuTorch, and its ``.pte`` files."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from vertebra.errors import ConfigError, WeightsError, first_line, install_command
from vertebra.runtimes.base import FileFormat, Runtime, Session, SessionOptions
from vertebra.runtimes.model_files.executorch_file import check_header, read_metadata
from vertebra.runtimes.model_files.exported_files import read_verified
from vertebra.runtimes.model_files.onnx_file import InvalidFile


def _parse(content: bytes, weights: int, whole: bool) -> str | None:
    """The metadata of a ``.pte`` file; see `read_verified`."""
    check_header(content)
    if not whole:  # ExecuTorch aborts the process on a damaged file
        raise InvalidFile(
            "it has no checksum: it is truncated, or Vertebra did not write it, or an older version did; export it again"
        )
    return read_metadata(content)


EXECUTORCH = FileFormat(
    ".pte",
    "ExecuTorch",
    lambda path: read_verified(path, _parse),
    fixed_canvas="ExecuTorch plans its memory in advance",
)


class ExecuTorchSession:
    """A ``.pte`` file in ExecuTorch, on the CPU. Threads take turns, because its memory is planned for one run.

    Args:
        path: the validated file: ExecuTorch aborts the process on a damaged one.

    Attributes:
        inputs, outputs: by name, the shape; a free dimension is None.
        max_batch: images that its memory is planned for; larger batches are split.

    Raises:
        ConfigError: ExecuTorch is not installed.
        WeightsError: ExecuTorch cannot read it.
    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("executorch") is None:
            raise ConfigError(f"this needs ExecuTorch; install it: {install_command('executorch')}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its imports
            from executorch.runtime import Runtime
        try:
            self._program: Any = Runtime.get().load_program(path)
            self._forward: Any = self._program.load_method("forward")
        except Exception as error:  # ExecuTorch raises RuntimeError for everything
            raise WeightsError(f"{path}: ExecuTorch cannot open it ({first_line(error)})") from error
        self._turn = Lock()
        metadata = self._forward.metadata
        self.max_batch: int = metadata.input_tensor_meta(0).sizes()[0]
        self.inputs = {
            name: _shape(metadata.input_tensor_meta(row))
            for row, name in zip(range(2), ("images", "sizes"), strict=True)
        }
        self.outputs = {str(row): _shape(metadata.output_tensor_meta(row)) for row in range(metadata.num_outputs())}

    def run(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """All outputs in their order; see `Session.run`.

        Raises:
            ConfigError: the canvases have another size than the file's; ExecuTorch itself would accept them and compute nonsense.
        """
        for (name, shape), array in zip(self.inputs.items(), arrays, strict=True):
            if list(array.shape[1:]) != shape[1:]:
                raise ConfigError(
                    f"this .pte file takes '{name}' of shape (N, {', '.join(map(str, shape[1:]))}), not {array.shape}"
                )
        parts = [
            self._run([array[start : start + self.max_batch] for array in arrays])
            for start in range(0, len(arrays[0]), self.max_batch)
        ]
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        import torch

        with self._turn:
            outputs = self._forward.execute([torch.from_numpy(array) for array in arrays])
            return [value.clone().numpy() for value in outputs]  # the next call writes into the same memory


class ExecuTorchRuntime(Runtime):
    """ExecuTorch on the CPU in fp32, with its own threads."""

    name = "executorch"
    formats = (EXECUTORCH,)
    takes_threads = False

    def open(self, path: Path, options: SessionOptions) -> Session:
        """See `vertebra.runtimes.base.Runtime.open`."""
        if (
            options.device not in (None, "cpu")
            or options.precision not in (None, "fp32")
            or options.threads is not None
        ):
            raise ConfigError(
                "a .pte file runs on the CPU in fp32, with ExecuTorch's own threads; leave out device, precision and threads"
            )
        return ExecuTorchSession(path)


def _shape(tensor_metadata: Any) -> list[int | None]:
    """A tensor's shape. The file stores the largest one; the first dimension, the batch, is free."""
    return [None, *tensor_metadata.sizes()[1:]]
