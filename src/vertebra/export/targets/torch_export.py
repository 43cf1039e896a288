"""The target ``torch``: a ``.pt2`` file of ``torch.export.save``."""

from __future__ import annotations

from pathlib import Path

import torch

from vertebra.export.job import ExportJob
from vertebra.export.suppress_output import suppress_output
from vertebra.export.targets.base import ExportTarget
from vertebra.export.torch_export import BATCH, Flat, canvas_of_example, dynamic_shapes, example, export_error
from vertebra.model import VisionModel
from vertebra.optimize.inference_copy import optimized_copy
from vertebra.runtimes.model_files.pt2_archive import rewrite_archive
from vertebra.runtimes.torch_export import TORCH_EXPORT, TorchExportRuntime


class TorchExportTarget(ExportTarget):
    """The graph of ``torch.export`` in float32, for PyTorch."""

    name = "torch"
    format = TORCH_EXPORT
    runtime = TorchExportRuntime()

    def write(self, job: ExportJob, folder: Path, *, free: bool) -> Path:
        """See `ExportTarget.write`."""
        file = folder / f"model{self.format.suffix}"
        write_torch(job.model, file, free=free)
        return file

    def write_metadata(self, path: Path, metadata: str) -> None:
        """See `ExportTarget.write_metadata`."""
        rewrite_archive(path, metadata)


def write_torch(model: VisionModel, path: Path, *, free: bool) -> None:
    """Writes the graph as a ``.pt2`` file.

    Args:
        model: in evaluation mode, on the CPU.
        path: the file to write.
        free: whether the canvas' height and width are left free; the batch always is.

    Raises:
        ExportError: torch cannot export the model.
    """
    with suppress_output():
        try:
            program = torch.export.export(
                Flat(optimized_copy(model)).eval(),
                example(model, canvas_of_example(model, free), BATCH),
                dynamic_shapes=dynamic_shapes(free),
            )
        except Exception as error:  # torch.export may raise anything
            raise export_error(error, free) from error
        torch.export.save(program, path)  # it warns of constants that are views; the file is compared with the model
