"""The parity check: an exported file is published only if its outputs agree with the model's in PyTorch.

The comparison depends on the precision:

==============  ====================  ==================================================  ==========================
precision       function              compares                                            usual limit
==============  ====================  ==================================================  ==========================
fp32            `check`               every number of every output, raw ones too          1e-4 of the largest value
fp16            `check_agreement`     predictions: boxes in pairs, pixels, points …       agreement of 0.97
int8            `check_agreement`     the same, on real images                            agreement of 0.9
any             `check_metrics`       the main metrics on labeled images, if there are   0.001, 0.005, 0.01 lower
==============  ====================  ==================================================  ==========================

Outputs are not bitwise equal, because runtimes sum in another order. If two scores differ by less than rounding, the order decides
which box is kept, and both results are valid. `check` treats such a case as inconclusive and compares the mirrored image instead;
see `_check_case`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.errors import ExportError, first_line
from vertebra.export.parity_inputs import ParityCase, mirrored
from vertebra.export.passes.float_noise import float_noise
from vertebra.export.torch_export import raw_outputs
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.tasks import get_task

NOISE_SEEDS = 8  # noise samples before a difference counts as a fault
UNTRAINED_HINT = "many scores are nearly equal, as those of an untrained model are. Train it first"
Run = Callable[..., Sequence[np.ndarray]]
"""From canvases (N, C, H, W) uint8 and sizes (N, 2) int64 to all outputs in their order."""


def check(
    model: VisionModel, run: Run, names: Sequence[str], parity_inputs: Sequence[ParityCase], tolerance: float
) -> dict[str, float]:
    """Compares an fp32 file with its model in eager PyTorch, number by number, on every case.

    Args:
        model: the exported model.
        run: runs the file.
        names: of the decoded outputs, ``branch/field``; raw outputs may follow them.
        parity_inputs: see `vertebra.export.parity_inputs.parity_inputs`.
        tolerance: the largest allowed difference, relative to the largest value of an output.

    Returns:
        The largest difference by case. An inconclusive case is replaced by its mirrored one.

    Raises:
        ExportError: an output differs by more, or has another shape.
    """
    return dict(_check_case(model, run, names, case, tolerance) for case in parity_inputs)


def _check_case(
    model: VisionModel, run: Run, names: Sequence[str], case: ParityCase, tolerance: float
) -> tuple[str, float]:
    """Compares one case.

    A difference over the tolerance is inconclusive, not a fault, if PyTorch's own output also differs by more than the tolerance
    when noise of the size of rounding is added to its layers, the shape is right, and the numbers are finite. Then the mirrored
    image decides, in which other scores are close.

    Returns:
        The name of the decisive case, and its largest difference.
    """
    for attempt in (case, *mirrored(case)):
        expected, outputs = _outputs_of_model(model, attempt), _outputs_of_file(run, attempt)
        worst, faults = _compare(names, attempt, expected[: len(outputs)], outputs, tolerance)
        if not faults:
            return attempt.name, worst
        unstable = unstable_outputs(model, names, attempt, tolerance)
        for index, fault in faults.items():
            broken = not np.isfinite(outputs[index]).all() or outputs[index].shape != expected[index].shape
            if index not in unstable or broken:
                raise fault
    raise ExportError(f"{fault}. PyTorch's own outputs differ as much by rounding: {UNTRAINED_HINT}")


def unstable_outputs(model: VisionModel, names: Sequence[str], case: ParityCase, tolerance: float) -> set[int]:
    """The indices of PyTorch's outputs that differ by more than the tolerance when noise is added to its layers."""
    expected, indices = _outputs_of_model(model, case), set[int]()
    for seed in range(NOISE_SEEDS):
        with float_noise(model, seed):
            noisy = _outputs_of_model(model, case)
        if all(np.isfinite(value).all() for value in noisy):
            indices |= _compare(names, case, expected, noisy, tolerance)[1].keys()
    return indices


def _compare(
    names: Sequence[str],
    case: ParityCase,
    expected: Sequence[np.ndarray],
    outputs: list[np.ndarray],
    tolerance: float,
) -> tuple[float, dict[int, ExportError]]:
    """The largest difference of the outputs that agree, and the errors of the other outputs by index; boxes in ``outputs`` are
    reordered as in ``expected``."""
    labels = [*names, *(f"raw output {number}" for number in range(len(outputs) - len(names)))]
    reorder_ties(names, expected, outputs)
    worst, faults = 0.0, {}
    for index, (name, left, right) in enumerate(zip(labels, expected, outputs, strict=True)):
        try:
            worst = max(worst, difference(f"{name} ({case.name})", left, right, tolerance))
        except ExportError as error:
            faults[index] = error
    return worst, faults


def check_agreement(
    model: VisionModel,
    info: ModelInfo,
    run: Run,
    names: Sequence[str],
    parity_inputs: Sequence[ParityCase],
    min_agreement: float,
) -> dict[str, float]:
    """Compares a file of lower precision with its model by their predictions, with boxes matched in pairs.

    Args:
        model: the exported model, in float32.
        info: of the model.
        run, names, parity_inputs: see `check`.
        min_agreement: the minimum agreement of each branch, 0 to 1, in the mean over a case's images; see each task's
            ``similarity``.

    Returns:
        The lowest agreement of all branches by case.

    Raises:
        ExportError: a branch agrees less, or an output has another shape or non-finite numbers.
    """
    agreement = {}
    for case in parity_inputs:
        outputs = _outputs_of_file(run, case)
        with torch.no_grad():
            expected = _arrays(model(torch.from_numpy(case.images), torch.from_numpy(case.sizes)))
        for name, model_output, file_output in zip(names, expected, outputs, strict=True):
            if model_output.shape != file_output.shape or not np.isfinite(file_output).all():
                raise ExportError(f"'{name}' ({case.name}) has shape {file_output.shape}, or non-finite numbers")
        similarities = agreements(info, case, _by_branch(names, expected), _by_branch(names, outputs))
        branch = min(similarities, key=lambda name: similarities[name])
        if not similarities[branch] >= min_agreement:
            raise ExportError(
                f"'{branch}' of the exported file agrees with PyTorch by {similarities[branch]:.3f} on {case.name}; "
                f"{min_agreement:g} is required. Calibrate with more images like those to predict on, or export in fp32"
            )
        agreement[case.name] = similarities[branch]
    return agreement


def agreements(
    info: ModelInfo,
    case: ParityCase,
    expected: Mapping[str, Sequence[np.ndarray]],
    outputs: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, float]:
    """The agreement of two predictions by branch, in the mean over the images of a case.

    Args:
        info: of the model.
        case: the input of both.
        expected, outputs: the fields of the decoded outputs by branch.
    """
    canvas = (case.images.shape[2], case.images.shape[3])
    similarities = {}
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
        similarities[branch] = float(np.mean(values))
    return similarities


def check_metrics(
    model: Mapping[str, float], file: Mapping[str, float], main_metrics: Sequence[str], max_loss: float
) -> dict[str, list[float]]:
    """Compares the metrics of a file with those of its model on the same images.

    Args:
        model, file: metrics by name.
        main_metrics: the names of the metrics that must not fall.
        max_loss: the largest allowed fall, absolute.

    Returns:
        The values of the model and of the file by name.

    Raises:
        ExportError: a metric falls further.
    """
    metrics = {name: [model[name], file[name]] for name in main_metrics if name in model and name in file}
    for name, (before, after) in metrics.items():
        if not before - after <= max_loss:
            raise ExportError(
                f"{name} is {after:.4f} with the exported file and {before:.4f} with the model; a loss of {max_loss:g} is allowed"
            )
    return metrics


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
    """Reorders boxes whose scores differ only by rounding as in PyTorch's output, in place.

    Args:
        names: of the outputs; outputs of a branch with ``scores`` (N, D) that have the dimension D too are reordered.
        expected, outputs: of PyTorch and of the file.
        tie: the largest difference of two scores that count as equal.
    """
    for branch in [name.removesuffix("/scores") for name in names if name.endswith("/scores")]:
        scores, boxes = names.index(f"{branch}/scores"), names.index(f"{branch}/boxes")
        if expected[scores].shape != outputs[scores].shape or expected[boxes].shape != outputs[boxes].shape:
            continue
        tied = np.abs(expected[scores][:, :, None] - outputs[scores][:, None]) <= tie
        distance = np.abs(expected[boxes][:, :, None] - outputs[boxes][:, None]).max(axis=-1)
        rows = np.arange(distance.shape[1])
        position_penalty = 1e-9 * np.abs(rows[:, None] - rows)  # keeps padding, which is all equal, in its rows
        order = np.where(tied, distance + position_penalty, np.inf).argmin(axis=2)
        if (np.sort(order, axis=1) != rows).any():
            continue  # no order makes them equal
        for index, name in enumerate(names):
            if name.startswith(f"{branch}/") and outputs[index].shape[1:2] == order.shape[1:]:
                outputs[index] = np.stack([values[row] for values, row in zip(outputs[index], order, strict=True)])
