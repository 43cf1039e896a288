"""The parity gate: an exported file gets its name only if it computes what the model computes in PyTorch.

Which comparison a file must pass depends on its precision:

==============  ====================  ==================================================  ==========================
precision       function              compares                                            usual limit
==============  ====================  ==================================================  ==========================
fp32            `check`               every number of every output, raw ones too          1e-4 of the largest value
fp16            `check_agreement`     predictions: boxes in pairs, pixels, points …       agreement of 0.97
int8            `check_agreement`     the same, on real images                            agreement of 0.9
any             `check_metrics`       the main metrics on labeled images, if there are   0.001, 0.005, 0.01 lower
==============  ====================  ==================================================  ==========================

Numbers cannot be equal to the bit: a runtime sums in another order. Where two scores differ by less than such a sum, the order
decides which box is kept, and both results are valid. `check` calls such a difference inconclusive and compares the mirrored
image instead; see `_check_case`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.errors import ExportError, first_line
from vertebra.export.parity_inputs import ParityCase, mirrored
from vertebra.export.passes.float_noise import other_rounding
from vertebra.export.torch_export import raw_outputs
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.tasks import get_task

DRAWS = 8  # of noise, before a difference is taken for a fault
ROUNDING = "many scores are nearly equal, as those of an untrained model are. Train it first"
Run = Callable[..., Sequence[np.ndarray]]
"""From canvases (N, C, H, W) uint8 and sizes (N, 2) int64 to all outputs in their order."""


def check(
    model: VisionModel, run: Run, names: Sequence[str], parity_inputs: Sequence[ParityCase], tolerance: float
) -> dict[str, float]:
    """Compares a file of fp32 with its model, in eager PyTorch, on every case: number by number.

    Args:
        model: what was exported.
        run: runs the file.
        names: of the decoded outputs, ``branch/field``; raw outputs may follow them.
        parity_inputs: see `vertebra.export.parity_inputs.parity_inputs`.
        tolerance: the largest difference allowed, relative to the largest value of an output.

    Returns:
        By case, the largest difference. A case that was inconclusive has its mirrored one's name.

    Raises:
        ExportError: an output differs by more, or has another shape.
    """
    return dict(_check_case(model, run, names, case, tolerance) for case in parity_inputs)


def _check_case(
    model: VisionModel, run: Run, names: Sequence[str], case: ParityCase, tolerance: float
) -> tuple[str, float]:
    """Compares one case.

    A difference that is too large is inconclusive, and no fault, only if all of this holds: PyTorch's own output differs by more
    than the tolerance too when noise of the size of rounding is added to its layers; the shape is right; the numbers are finite.
    Then the mirrored image, where other scores are close, decides.

    Returns:
        The name of the case that was decisive, and its largest difference.
    """
    for attempt in (case, *mirrored(case)):
        expected, outputs = _outputs_of_model(model, attempt), _outputs_of_file(run, attempt)
        worst, faults = _compare(names, attempt, expected[: len(outputs)], outputs, tolerance)
        if not faults:
            return attempt.name, worst
        unstable = moved_by_rounding(model, names, attempt, tolerance)
        for row, fault in faults.items():
            broken = not np.isfinite(outputs[row]).all() or outputs[row].shape != expected[row].shape
            if row not in unstable or broken:
                raise fault
    raise ExportError(f"{fault}. PyTorch's own outputs differ as much by rounding: {ROUNDING}")


def moved_by_rounding(model: VisionModel, names: Sequence[str], case: ParityCase, tolerance: float) -> set[int]:
    """The rows of those of PyTorch's own outputs that differ by more than is allowed when noise is added to its layers."""
    expected, rows = _outputs_of_model(model, case), set[int]()
    for seed in range(DRAWS):
        with other_rounding(model, seed):
            moved = _outputs_of_model(model, case)
        if all(np.isfinite(value).all() for value in moved):
            rows |= _compare(names, case, expected, moved, tolerance)[1].keys()
    return rows


def _compare(
    names: Sequence[str],
    case: ParityCase,
    expected: Sequence[np.ndarray],
    outputs: list[np.ndarray],
    tolerance: float,
) -> tuple[float, dict[int, ExportError]]:
    """The largest difference of all outputs that agree, and by row the errors of the others; boxes in ``outputs`` are brought into
    the order of ``expected``."""
    labels = [*names, *(f"raw output {number}" for number in range(len(outputs) - len(names)))]
    reorder_ties(names, expected, outputs)
    worst, faults = 0.0, {}
    for row, (name, left, right) in enumerate(zip(labels, expected, outputs, strict=True)):
        try:
            worst = max(worst, difference(f"{name} ({case.name})", left, right, tolerance))
        except ExportError as error:
            faults[row] = error
    return worst, faults


def check_agreement(
    model: VisionModel,
    info: ModelInfo,
    run: Run,
    names: Sequence[str],
    parity_inputs: Sequence[ParityCase],
    least: float,
) -> dict[str, float]:
    """Compares a file of lower precision with its model by their predictions, with boxes in pairs.

    Args:
        model: what was exported, in float32.
        info: of the model.
        run, names, parity_inputs: as of `check`.
        least: the agreement, of 0 to 1, that each branch must reach in the mean over a case's images; see each task's
            ``similarity``.

    Returns:
        By case, the agreement of the branch that agrees least.

    Raises:
        ExportError: a branch agrees less, or an output has another shape or numbers that are not finite.
    """
    agreement = {}
    for case in parity_inputs:
        outputs = _outputs_of_file(run, case)
        with torch.no_grad():
            expected = _arrays(model(torch.from_numpy(case.images), torch.from_numpy(case.sizes)))
        for name, left, right in zip(names, expected, outputs, strict=True):
            if left.shape != right.shape or not np.isfinite(right).all():
                raise ExportError(f"'{name}' ({case.name}) has shape {right.shape}, or numbers that are not finite")
        shares = agreements(info, case, _by_branch(names, expected), _by_branch(names, outputs))
        branch = min(shares, key=lambda name: shares[name])
        if not shares[branch] >= least:
            raise ExportError(
                f"'{branch}' of the exported file agrees with PyTorch by {shares[branch]:.3f} on {case.name}; "
                f"{least:g} is asked for. Calibrate with more images like those of later, or export in fp32"
            )
        agreement[case.name] = shares[branch]
    return agreement


def agreements(
    info: ModelInfo,
    case: ParityCase,
    expected: Mapping[str, Sequence[np.ndarray]],
    outputs: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, float]:
    """By branch, how far two predictions agree in the mean over the images of a case.

    Args:
        info: of the model.
        case: the input of both.
        expected, outputs: by branch, the fields of its decoded outputs.
    """
    canvas = (case.images.shape[2], case.images.shape[3])
    shares = {}
    for branch, (name, labels) in info.branches.items():
        task = get_task(name)
        values = []
        for row, (height, width) in enumerate(case.sizes.tolist()):
            transform = ImageTransform(canvas, (height, width), 1.0, 1.0, 0, 0, (height, width))
            left, right = (
                task.from_decoded([value[row] for value in side[branch]], transform, labels, None)
                for side in (expected, outputs)
            )
            values.append(task.similarity(left, right))
        shares[branch] = float(np.mean(values))
    return shares


def check_metrics(
    model: Mapping[str, float], file: Mapping[str, float], main: Sequence[str], most: float
) -> dict[str, list[float]]:
    """Compares the metrics of a file with those of its model on the same images.

    Args:
        model, file: metrics by name.
        main: the names of those that must not fall.
        most: how far they may fall, absolutely.

    Returns:
        By name, the value of the model and of the file.

    Raises:
        ExportError: one fell further.
    """
    both = {name: [model[name], file[name]] for name in main if name in model and name in file}
    for name, (before, after) in both.items():
        if not before - after <= most:
            raise ExportError(
                f"{name} is {after:.4f} with the exported file and {before:.4f} with the model; a loss of {most:g} is allowed"
            )
    return both


def _outputs_of_model(model: VisionModel, case: ParityCase) -> list[np.ndarray]:
    """All decoded and all raw outputs."""
    with torch.no_grad():
        outputs, decoded = model.run(torch.from_numpy(case.images), torch.from_numpy(case.sizes))
    return [*_arrays(decoded), *_arrays(raw_outputs(model, outputs))]


def _outputs_of_file(run: Run, case: ParityCase) -> list[np.ndarray]:
    try:
        return list(run(case.images, case.sizes))
    except Exception as error:  # each runtime raises its own types
        raise ExportError(f"the exported file does not run on {case.name}: {first_line(error)}") from error


def _arrays(values: Any) -> list[np.ndarray]:
    return [value.numpy() for value in tree.tree_leaves(values) if isinstance(value, torch.Tensor)]


def _by_branch(names: Sequence[str], values: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    branches: dict[str, list[np.ndarray]] = {}
    for name, value in zip(names, values, strict=True):
        branches.setdefault(name.rpartition("/")[0], []).append(value)
    return branches


def difference(name: str, expected: np.ndarray, output: np.ndarray, tolerance: float) -> float:
    """The largest difference, relative to the largest value.

    Raises:
        ExportError: it is more than ``tolerance``, or the shapes differ.
    """
    if expected.shape != output.shape:
        raise ExportError(f"'{name}' has shape {output.shape} in the exported file and {expected.shape} in PyTorch")
    if not expected.size:
        return 0.0
    scale = float(np.abs(expected).max()) or 1.0
    worst = float(np.abs(expected.astype(np.float64) - output.astype(np.float64)).max()) / scale
    if not worst <= tolerance:
        raise ExportError(
            f"'{name}' of the exported file differs by {worst:.1e} of its largest value from PyTorch; {tolerance:.0e} is allowed"
        )
    return worst


def reorder_ties(names: Sequence[str], expected: Sequence[Any], outputs: list[Any], tie: float = 1e-6) -> None:
    """Brings boxes whose scores differ by rounding only into PyTorch's order, in place.

    Args:
        names: of the outputs; those that share a branch with an output ``scores`` (N, D), and have D too, are reordered.
        expected, outputs: of PyTorch and of the file.
        tie: how close two scores must be to count as one.
    """
    for branch in [name.removesuffix("/scores") for name in names if name.endswith("/scores")]:
        scores, boxes = names.index(f"{branch}/scores"), names.index(f"{branch}/boxes")
        if expected[scores].shape != outputs[scores].shape or expected[boxes].shape != outputs[boxes].shape:
            continue
        tied = np.abs(expected[scores][:, :, None] - outputs[scores][:, None]) <= tie
        apart = np.abs(expected[boxes][:, :, None] - outputs[boxes][:, None]).max(axis=-1)
        rows = np.arange(apart.shape[1])
        moved = 1e-9 * np.abs(rows[:, None] - rows)  # padding, which is all alike, stays in its rows
        order = np.where(tied, apart + moved, np.inf).argmin(axis=2)
        if (np.sort(order, axis=1) != rows).any():
            continue  # no order makes them equal
        for number, name in enumerate(names):
            if name.startswith(f"{branch}/") and outputs[number].shape[1:2] == order.shape[1:]:
                outputs[number] = np.stack([values[row] for values, row in zip(outputs[number], order, strict=True)])
