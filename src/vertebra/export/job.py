"""One export: the model, its options, and the comparisons that every file must pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from vertebra.data.batches import Batch
from vertebra.errors import ExportError
from vertebra.evaluation.measure import measure
from vertebra.export.parity import check, check_agreement, check_metrics
from vertebra.export.parity_inputs import REAL, ParityCase, parity_inputs
from vertebra.export.torch_export import BATCH, RAW, output_names
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo, model_info
from vertebra.runtimes.base import Session
from vertebra.tasks import get_task

TOLERANCE = 1e-4
AGREEMENT = {"fp16": 0.97, "int8": 0.9}
METRIC_LOSS = {"fp32": 0.001, "fp16": 0.005, "int8": 0.01}
COMPARED_IMAGES = 8  # real images to compare on; all of them are used for calibration


@dataclass(frozen=True)
class ExportTolerances:
    """Limits for the differences between a file and its model; None for the default of the precision.

    Attributes:
        tolerance: for fp32, the largest difference, relative to the largest value of an output.
        agreement: for lower precision, the minimum agreement of predictions with PyTorch's, 0 to 1.
        metric_loss: the largest allowed fall of a branch's main metric.
    """

    tolerance: float = TOLERANCE
    agreement: float | None = None
    metric_loss: float | None = None


@dataclass
class ExportJob:
    """One export: the state that its steps share.

    Attributes:
        model: a copy, on the CPU and in evaluation mode.
        precision: "fp32", "fp16" or "int8".
        tolerances: of the comparisons.
        progress: called with a line after each step.
        real: real images on the canvas.
    """

    model: VisionModel
    precision: str
    tolerances: ExportTolerances = field(default_factory=ExportTolerances)
    progress: Callable[[str], None] = lambda line: None
    real: Sequence[ParityCase] = ()

    @cached_property
    def info(self) -> ModelInfo:
        """The model's preprocessing, branches and classes."""
        return model_info(self.model)

    @cached_property
    def names(self) -> list[str]:
        """The names of the decoded outputs, ``branch/field``."""
        return output_names(self.model)

    def check_numbers(self, session: Session, *, free: bool) -> dict[str, float]:
        """Compares all outputs of an fp32 file with the model, number by number; see `vertebra.export.parity.check`.

        Args:
            session: the file.
            free: whether its canvas size is free.

        Returns:
            By case, the largest difference.

        Raises:
            ExportError: an output differs by more than is allowed, or a dimension that should be free is not.
        """
        check_free_dimensions(session, free)
        return check(self.model, session.run, self.names, self._inputs(free), self.tolerances.tolerance)

    def check_file(self, session: Session, *, free: bool) -> dict[str, Any]:
        """Compares a finished file with the model: numbers in fp32, predictions in lower precision.

        Args: as of `check_numbers`.

        Returns:
            The entries of the export's report.

        Raises:
            ExportError: the file differs by more than is allowed.
        """
        if self.precision == "fp32":
            return {
                "tolerance": self.tolerances.tolerance,
                "differences": self.check_numbers(session, free=free),
            }
        check_free_dimensions(session, free)
        requested = self.tolerances.agreement
        min_agreement = AGREEMENT[self.precision] if requested is None else requested
        agreement: dict[str, float] = {}
        for case in self._inputs(free):
            # int8 is calibrated for images; on noise only finite numbers in the right shapes are required
            required = min_agreement if case.name.startswith(REAL) or self.precision != "int8" else 0.0
            agreement |= check_agreement(self.model, self.info, session.run, self.names, [case], required)
        return {"agreement_asked": min_agreement, "agreement": agreement}

    def _inputs(self, free: bool) -> list[ParityCase]:
        return [*self.real[:COMPARED_IMAGES], *parity_inputs(self.model, BATCH, free)]

    def compare_metrics(self, session: Session, labeled: Iterable[Batch]) -> dict[str, list[float]]:
        """The main metric of each branch on labeled images, of the model and of a file that takes canvases.

        Raises:
            ExportError: one falls by more than is allowed.
        """
        requested = self.tolerances.metric_loss
        max_loss = METRIC_LOSS[self.precision] if requested is None else requested
        main_metrics = [f"{name}/{get_task(task).monitor}" for name, (task, _) in self.info.branches.items()]
        before = measure(self.info, labeled, self._run)
        after = measure(self.info, labeled, lambda images, sizes: self._by_branch(session.run(images, sizes)))
        return check_metrics(before, after, main_metrics, max_loss)

    @torch.no_grad()
    def _run(self, images: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """The model itself."""
        decoded = self.model(torch.from_numpy(images), torch.from_numpy(sizes))
        return {name: [value.numpy() for value in fields] for name, fields in decoded.items()}

    def _by_branch(self, values: Sequence[Any]) -> dict[str, list[Any]]:
        """Values, one for each decoded output, by branch."""
        branches: dict[str, list[Any]] = {}
        for name, value in zip(self.names, values, strict=True):
            branches.setdefault(name.rpartition("/")[0], []).append(value)
        return branches


def check_free_dimensions(session: Session, free: bool) -> None:
    """Checks that free dimensions are not fixed in the file.

    Args:
        session: the file.
        free: whether height and width must be free; in a file that takes pixels they always must be.

    Raises:
        ExportError: a dimension is fixed; the message names the input or output.
    """
    for name, shape in [*session.inputs.items(), *session.outputs.items()]:
        # raw outputs may be anchors, the same for all images
        if isinstance(shape[0], int) and not name.startswith(RAW):
            raise ExportError(f"the batch of '{name}' is frozen at {shape[0]}")
    if "pixels" in session.inputs:
        sides, free = session.inputs["pixels"][1:3], True
    else:
        sides = session.inputs["images"][2:]
    if free and any(isinstance(side, int) for side in sides):
        raise ExportError(f"height and width are frozen at {sides}")
