"""The gate that every exported file passes: what it gives in its own runtime is what the model gives in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils import _pytree as tree

from vertebra.errors import ExportError
from vertebra.export.passes.float_noise import other_rounding
from vertebra.export.torch_export import raw_outputs
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.preprocess.images import apply, read_image
from vertebra.runtimes.onnx import first_line
from vertebra.tasks import get_task

REAL = "real image"  # what the names of cases that are no noise begin with
DRAWS = 8  # of rounding, before it is said not to decide
ROUNDING = "many scores lie close to each other, as those of a model that has learned nothing do. Train it first"
Run = Callable[..., Sequence[np.ndarray]]
"""From canvases (N, C, H, W) uint8 and sizes (N, 2) int64 to all outputs in their order."""


class ParityCase(NamedTuple):
    """One comparison: canvases (N, C, H, W) uint8, and (N, 2) the valid pixels of each."""

    name: str
    images: np.ndarray
    sizes: np.ndarray


def parity_inputs(model: VisionModel, batch: int, free_size: bool) -> list[ParityCase]:
    """What a file is tried on: another batch size than it was made with, a single image, images that fill a part of their canvas,
    an image of nearly one color (of one color, all places would tie), and another canvas, of an odd size, where that is promised.

    Args:
        batch: the batch size that the file was made with.
        free_size: whether the canvas' height and width are free.
    """
    draw = np.random.default_rng(0)
    channels = model.backbone.in_channels
    height, width = model.resize_spec.size

    def noise(count: int, rows: int, columns: int) -> np.ndarray:
        return draw.integers(0, 256, (count, channels, rows, columns), dtype=np.uint8)

    def full(count: int, rows: int, columns: int) -> np.ndarray:
        return np.array([[rows, columns]] * count, dtype=np.int64)

    part = full(batch + 1, height, width)
    part[1:] -= [[height // 4, width // 3]]
    found = [
        ParityCase(f"batch {batch + 1}, images that fill a part", noise(batch + 1, height, width), part),
        ParityCase("batch 1", noise(1, height, width), full(1, height, width)),
        ParityCase("batch 1, nearly one color", noise(1, height, width) // 32 + np.uint8(90), full(1, height, width)),
    ]
    if free_size:
        rows, columns = height + 33, max(width - 31, 33)  # odd: no stride divides it
        found.append(ParityCase(f"batch 2, canvas {rows}x{columns}", noise(2, rows, columns), full(2, rows, columns)))
    return found


def real_parity_inputs(info: ModelInfo, images: Iterable[Any]) -> list[ParityCase]:
    """Real images on the model's canvas, each a case of one.

    Args:
        info: of the model.
        images: files, arrays and the like; see `vertebra.preprocess.images.read_image`.

    Raises:
        DataError: one cannot be read.
    """
    found = []
    for place, image in enumerate(images):
        array = read_image(image, channels=info.channels)
        size = info.resize_spec.place(array.shape[0], array.shape[1]).size
        canvas = np.ascontiguousarray(apply(info.resize_spec, array).transpose(2, 0, 1)[None])
        found.append(ParityCase(f"{REAL} {place + 1}", canvas, np.array([size], dtype=np.int64)))
    return found


def check(
    model: VisionModel, run: Run, names: Sequence[str], tried: Sequence[ParityCase], tolerance: float
) -> dict[str, float]:
    """Compares a file with its model, in eager PyTorch, on every case: number by number.

    Where rounding decides what PyTorch itself says of a case, in the outputs that differ, the case is mirrored and tried anew.

    Args:
        model: what was exported.
        run: runs the file.
        names: of the decoded outputs, ``branch/field``; raw outputs may follow them.
        tried: see `parity_inputs`.
        tolerance: the largest difference allowed, relative to the largest value of an output.

    Returns:
        By case, the largest difference that was found.

    Raises:
        ExportError: an output differs by more, or has another shape.
    """
    return dict(_check_case(model, run, names, case, tolerance) for case in tried)


def _check_case(
    model: VisionModel, run: Run, names: Sequence[str], case: ParityCase, tolerance: float
) -> tuple[str, float]:
    """The name of the case that was decisive, and its largest difference."""
    for own in (case, *mirrored(case)):
        expected, got = _answer(model, own), _run(run, own)
        worst, faults = _compare(names, own, expected[: len(got)], got, tolerance)
        if not faults:
            return own.name, worst
        excused = moved_by_rounding(model, names, own, tolerance)
        for place, fault in faults.items():
            if place not in excused or not np.isfinite(got[place]).all() or got[place].shape != expected[place].shape:
                raise fault
    raise ExportError(f"{fault}. PyTorch's own answer to it differs as much by rounding: {ROUNDING}")


def moved_by_rounding(model: VisionModel, names: Sequence[str], case: ParityCase, tolerance: float) -> set[int]:
    """The places of those of PyTorch's own outputs that differ by more than is allowed where its layers' last digits do."""
    expected, found = _answer(model, case), set[int]()
    for seed in range(DRAWS):
        with other_rounding(model, seed):
            moved = _answer(model, case)
        if all(np.isfinite(value).all() for value in moved):
            found |= _compare(names, case, expected, moved, tolerance)[1].keys()
    return found


def mirrored(case: ParityCase) -> list[ParityCase]:
    """The same images from right to left, upside down, and both; what is beside their valid pixels stays."""
    found = []
    for rows, columns in ((1, -1), (-1, 1), (-1, -1)):
        images = case.images.copy()
        for image, (height, width) in zip(images, case.sizes.tolist(), strict=True):
            image[:, :height, :width] = image[:, :height, :width][:, ::rows, ::columns].copy()
        found.append(case._replace(name=f"{case.name}, mirrored", images=images))
    return found


def _answer(model: VisionModel, case: ParityCase) -> list[np.ndarray]:
    """All decoded and all raw outputs."""
    with torch.no_grad():
        outputs, decoded = model.run(torch.from_numpy(case.images), torch.from_numpy(case.sizes))
    return [*_arrays(decoded), *_arrays(raw_outputs(model, outputs))]


def _compare(
    names: Sequence[str], case: ParityCase, expected: Sequence[np.ndarray], got: list[np.ndarray], tolerance: float
) -> tuple[float, dict[int, ExportError]]:
    """The largest difference of all outputs that agree, and by place what is wrong with the others; ``got`` is brought into the
    order of ``expected``."""
    labels = [*names, *(f"raw output {place}" for place in range(len(got) - len(names)))]
    reorder_ties(names, expected, got)
    worst, faults = 0.0, {}
    for place, (name, left, right) in enumerate(zip(labels, expected, got, strict=True)):
        try:
            worst = max(worst, difference(f"{name} ({case.name})", left, right, tolerance))
        except ExportError as error:
            faults[place] = error
    return worst, faults


def check_agreement(
    model: VisionModel, info: ModelInfo, run: Run, names: Sequence[str], tried: Sequence[ParityCase], least: float
) -> dict[str, float]:
    """Compares a file of lower precision with its model: by what they say of each image, with boxes in pairs.

    Args:
        model: what was exported, in float32.
        info: of the model.
        run, names, tried: as of `check`.
        least: the agreement, of 0 to 1, that each branch must reach in the mean over a case's images; see each task's
            ``agreement``.

    Returns:
        By case, the agreement of the branch that agrees least.

    Raises:
        ExportError: a branch agrees less, or an output has another shape or numbers that are none.
    """
    found = {}
    for case in tried:
        got = _run(run, case)
        with torch.no_grad():
            expected = _arrays(model(torch.from_numpy(case.images), torch.from_numpy(case.sizes)))
        for name, left, right in zip(names, expected, got, strict=True):
            if left.shape != right.shape or not np.isfinite(right).all():
                raise ExportError(f"'{name}' ({case.name}) has shape {right.shape}, or numbers that are not finite")
        shares = agreements(info, case, _by_branch(names, expected), _by_branch(names, got))
        branch = min(shares, key=lambda name: shares[name])
        if not shares[branch] >= least:
            raise ExportError(
                f"'{branch}' of the exported file agrees with PyTorch by {shares[branch]:.3f} on {case.name}; "
                f"{least:g} is asked for. Calibrate with more images like those of later, or export in fp32"
            )
        found[case.name] = shares[branch]
    return found


def agreements(
    info: ModelInfo,
    case: ParityCase,
    expected: Mapping[str, Sequence[np.ndarray]],
    got: Mapping[str, Sequence[np.ndarray]],
) -> dict[str, float]:
    """By branch, how far two answers agree in the mean over the images of a case.

    Args:
        info: of the model.
        case: what both were given.
        expected, got: by branch, the fields of its decoded outputs.
    """
    canvas = (case.images.shape[2], case.images.shape[3])
    shares = {}
    for branch, (task, labels) in info.branches.items():
        own = get_task(task)
        values = []
        for row, (height, width) in enumerate(case.sizes.tolist()):
            place = ImageTransform(canvas, (height, width), 1.0, 1.0, 0, 0, (height, width))
            left, right = (
                own.from_decoded([value[row] for value in side[branch]], place, labels, None)
                for side in (expected, got)
            )
            values.append(own.similarity(left, right))
        shares[branch] = float(np.mean(values))
    return shares


def _by_branch(names: Sequence[str], values: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    for name, value in zip(names, values, strict=True):
        found.setdefault(name.rpartition("/")[0], []).append(value)
    return found


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


def _arrays(values: Any) -> list[np.ndarray]:
    return [value.numpy() for value in tree.tree_leaves(values) if isinstance(value, torch.Tensor)]


def _run(run: Run, case: ParityCase) -> list[np.ndarray]:
    try:
        return list(run(case.images, case.sizes))
    except Exception as error:  # each runtime raises its own types
        raise ExportError(f"the exported file does not run on {case.name}: {first_line(error)}") from error


def difference(name: str, expected: np.ndarray, got: np.ndarray, tolerance: float) -> float:
    """The largest difference, relative to the largest value.

    Raises:
        ExportError: it is more than ``tolerance``, or the shapes differ.
    """
    if expected.shape != got.shape:
        raise ExportError(f"'{name}' has shape {got.shape} in the exported file and {expected.shape} in PyTorch")
    if not expected.size:
        return 0.0
    scale = float(np.abs(expected).max()) or 1.0
    worst = float(np.abs(expected.astype(np.float64) - got.astype(np.float64)).max()) / scale
    if not worst <= tolerance:
        raise ExportError(
            f"'{name}' of the exported file differs by {worst:.1e} of its largest value from PyTorch; {tolerance:.0e} is allowed"
        )
    return worst


def reorder_ties(names: Sequence[str], expected: Sequence[Any], got: list[Any], near: float = 1e-6) -> None:
    """Brings boxes whose scores differ by rounding only into the order that PyTorch has them in, in place.

    Args:
        names: of the outputs; those that share a branch with an output ``scores`` (N, D), and have D too, are reordered.
        expected, got: the outputs of PyTorch and of the file.
        near: how close two scores must be to count as one.
    """
    for branch in [name.removesuffix("/scores") for name in names if name.endswith("/scores")]:
        scores, boxes = names.index(f"{branch}/scores"), names.index(f"{branch}/boxes")
        if expected[scores].shape != got[scores].shape or expected[boxes].shape != got[boxes].shape:
            continue
        same = np.abs(expected[scores][:, :, None] - got[scores][:, None]) <= near
        apart = np.abs(expected[boxes][:, :, None] - got[boxes][:, None]).max(axis=-1)
        places = np.arange(apart.shape[1])
        moved = 1e-9 * np.abs(places[:, None] - places)  # padding, which is all alike, stays where it is
        order = np.where(same, apart + moved, np.inf).argmin(axis=2)
        if (np.sort(order, axis=1) != places).any():
            continue  # no order makes them equal: left as they are
        for number, name in enumerate(names):
            if name.startswith(f"{branch}/") and got[number].shape[1:2] == order.shape[1:]:
                got[number] = np.stack([values[own] for values, own in zip(got[number], order, strict=True)])
