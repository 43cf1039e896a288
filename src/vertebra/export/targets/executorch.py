"""The target ``executorch``: a ``.pte`` file for phones and small machines, from the graph of ``torch.export``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vertebra.errors import ExportError
from vertebra.export.job import ExportJob
from vertebra.export.suppress_output import suppress_output
from vertebra.export.targets.base import ExportTarget
from vertebra.export.torch_export import BATCH, Flat, example, reason
from vertebra.geometry.nms import nms_mask_unrolled
from vertebra.model import VisionModel
from vertebra.optimize.inference_copy import optimized_copy
from vertebra.runtimes.executorch import EXECUTORCH, ExecuTorchRuntime
from vertebra.runtimes.model_files.checksum import append_checksum
from vertebra.runtimes.model_files.metadata import KEY

MAX_BATCH = 8
"""The largest batch of a file: ExecuTorch plans all of its memory in advance."""


class ExecuTorchTarget(ExportTarget):
    """An ExecuTorch file in float32: one canvas, batches of 1 to `MAX_BATCH`."""

    name = "executorch"
    format = EXECUTORCH
    runtime = ExecuTorchRuntime()
    packages = ("executorch",)
    extra = "executorch"

    def write(self, job: ExportJob, folder: Path, *, free: bool) -> Path:
        """See `ExportTarget.write`."""
        self._lowered = ExecuTorchProgram(job.model)  # takes minutes; `write_metadata` needs it again
        file = folder / f"model{self.format.suffix}"
        self._lowered.write(file)
        return file

    def write_metadata(self, path: Path, metadata: str) -> None:
        """See `ExportTarget.write_metadata`."""
        self._lowered.write(path, metadata)


class ExecuTorchProgram:
    """A model's program for ExecuTorch: XNNPACK computes the operators that it supports, ExecuTorch's own operators the rest.

    Non-maximum suppression becomes a fixed number of rounds of matrix operations, since ExecuTorch has neither the operator nor
    loops; and negative padding becomes slices.

    Args:
        model: in evaluation mode, on the CPU. Its canvas is fixed; the batch size is 1 to `MAX_BATCH`.

    Raises:
        ExportError: torch or ExecuTorch cannot convert the model.
    """

    def __init__(self, model: VisionModel) -> None:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
        shapes = ({0: batch}, {0: batch})
        self._config: Any = EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True)
        with suppress_output():
            try:
                program = torch.export.export(
                    Flat(_plain(optimized_copy(model))).eval(),
                    example(model, model.resize_spec.size, BATCH),
                    dynamic_shapes=shapes,
                )
                program = program.run_decompositions(
                    {
                        torch.ops.vertebra.nms_mask.default: nms_mask_unrolled,
                        torch.ops.aten.pad.default: pad_with_slices,
                    }
                )
                self._edge: Any = to_edge_transform_and_lower(
                    program, partitioner=[XnnpackPartitioner()], compile_config=self._config
                )
            except Exception as error:  # each pass raises what it meets
                raise ExportError(f"ExecuTorch cannot take this model: {reason(error)}") from error

    def write(self, path: Path, metadata: str = "") -> None:
        """Writes the file.

        Args:
            path: the file to write (``.pte``).
            metadata: stored as the constant result of a method beside ``forward``.

        Raises:
            ExportError: ExecuTorch does not support an operator of the graph.
        """
        from executorch.exir import EdgeProgramManager

        with suppress_output():
            try:
                program = EdgeProgramManager(
                    {"forward": copy.deepcopy(self._edge.exported_program())},  # emission changes it
                    constant_methods={KEY: metadata},
                    compile_config=self._config,
                )
                path.write_bytes(program.to_executorch().buffer)
                append_checksum(path)
            except Exception as error:  # each pass raises what it meets
                raise ExportError(f"ExecuTorch cannot take this model: {reason(error)}") from error


def pad_with_slices(maps: Tensor, pads: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Padding with negative numbers, which cut off cells, as slices: ExecuTorch's operator fails on negative numbers.

    Args:
        maps: any tensor.
        pads: (before, after) of each axis, the last axis first, as for ``torch.nn.functional.pad``.
        mode, value: as of that function.

    Returns:
        The tensor, or ``NotImplemented`` where nothing is cut off.
    """
    if mode != "constant" or min(pads) >= 0:
        return NotImplemented
    for number in range(len(pads) // 2):
        before, after = (min(0, side) for side in pads[2 * number : 2 * number + 2])
        axis = maps.dim() - 1 - number
        if before or after:
            maps = maps.narrow(axis, -before, maps.shape[axis] + before + after)
    added = [max(0, side) for side in pads]
    return torch.constant_pad_nd(maps, added, 0.0 if value is None else value) if any(added) else maps


def _plain(model: nn.Module) -> Any:
    """The model with contiguous (channels-first) weights, as ExecuTorch needs them."""
    for module in model.modules():
        for name, value in module._parameters.items():
            if value is not None:
                module._parameters[name] = nn.Parameter(value.detach().contiguous(), requires_grad=False)
    return model
