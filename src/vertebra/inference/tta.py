"""Test-time augmentation: predictions on mirrored and rescaled inputs, merged; without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vertebra.errors import ConfigError
from vertebra.inference.result_assembler import Decoded, ModelInput, ResultAssembler
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks import get_task
from vertebra.tasks.task import TTAMerger

MAX_SCALE = 4  # of the canvas; values in percent or pixels by mistake are far above


class TTAView(NamedTuple):
    """One augmentation of an image or tile: horizontal flip, and the scale of the canvas."""

    flip: bool
    scale: float


PLAIN = TTAView(False, 1.0)


def make_views(flip: bool, scales: Sequence[float]) -> tuple[TTAView, ...]:
    """The augmentations: each scale, and with ``flip`` each scale mirrored too. Scale 1 comes first if it is included.

    Raises:
        ConfigError: the scales are invalid.
    """
    values = list(scales) if isinstance(scales, Iterable) else []
    for scale in values:
        number = isinstance(scale, int | float | np.number) and not isinstance(scale, bool)
        if not number or not 0 < scale <= MAX_SCALE:
            raise ConfigError(
                f"'scales' must be numbers above 0 and at most {MAX_SCALE}, such as 0.8, 1 and 1.25, got {scale!r}"
            )
    if not values:
        raise ConfigError("'scales' must be a list of one number or more; 1 is the model's canvas")
    if len(set(values)) < len(values):
        raise ConfigError(f"'scales' has one twice: {', '.join(f'{scale:g}' for scale in values)}")
    return tuple(
        TTAView(mirrored, float(scale))
        for scale in sorted(values, key=lambda scale: scale != 1)
        for mirrored in ((False, True) if flip else (False,))
    )


def check_scales(text: str) -> tuple[float, ...]:
    """Parses scales of the command line, such as ``0.8,1,1.25``.

    Raises:
        ConfigError: they are not numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"'scales' must be numbers separated by commas, such as 0.8,1,1.25, got '{text}'") from None


def tta_views(info: ModelInfo, flip: bool, scales: Sequence[float]) -> tuple[TTAView, ...]:
    """The augmentations of `make_views`, checked for a model.

    Raises:
        ConfigError: the scales are invalid, the model has a fixed canvas size, or it does not support mirrored images.
    """
    chosen = make_views(flip, scales)
    for name, (_, labels) in info.branches.items():
        if flip and labels.mirror_refusal:
            raise ConfigError(
                f"'flip' is not for branch '{name}': {labels.mirror_refusal}. Train it so, or leave out 'flip'"
            )
    if info.fixed and any(view.scale != 1 for view in chosen):
        raise ConfigError(
            f"'scales' needs a model that takes canvases of any size, but {info.fixed}. Leave out 'scales'; "
            "'flip' works with any size"
        )
    return chosen


def render_views(
    array: np.ndarray,
    resize_spec: ResizeSpec,
    chosen: Sequence[TTAView],
    to_canvas: Callable[[ResizeSpec, np.ndarray], tuple[ImageTransform, np.ndarray]],
) -> tuple[tuple[ViewTransform, ...], tuple[np.ndarray, ...]]:
    """The transform and the canvas of each augmentation. The image is resized once per scale.

    Args:
        array: (H, W, C) uint8.
        resize_spec: of the canvas at scale 1.
        chosen: the augmentations, grouped by scale.
        to_canvas: returns the transform and the canvas of an image for a `ResizeSpec`.
    """
    by_scale = {
        scale: to_canvas(resize_spec.scaled(scale), array) for scale in dict.fromkeys(view.scale for view in chosen)
    }
    plain = by_scale[1.0][0] if 1.0 in by_scale else resize_spec.transform(array.shape[0], array.shape[1])
    transforms, canvases = [], []
    for view in chosen:
        transform, canvas = by_scale[view.scale]
        transforms.append(ViewTransform(plain, transform, view.flip))
        canvases.append(mirror(canvas, transform.size[1]) if view.flip else canvas)
    return tuple(transforms), tuple(canvases)


def mirror(canvas: np.ndarray, width: int) -> np.ndarray:
    """A canvas (height, width, C) with its first ``width`` columns flipped horizontally; the other columns do not change."""
    if width == canvas.shape[1]:
        turned: np.ndarray = canvas[:, ::-1]
        return turned
    mirrored: np.ndarray = canvas.copy()
    mirrored[:, :width] = canvas[:, :width][:, ::-1]
    return mirrored


class TTAMerge:
    """Merges the outputs of all augmentations of each input of a batch.

    Args:
        assembler: receives the merged outputs of each input.
        chosen: the augmentations. With the plain one only, outputs are passed on unchanged.
        count: inputs in the batch.
    """

    def __init__(self, assembler: ResultAssembler, chosen: Sequence[TTAView], count: int) -> None:
        self.assembler, self.chosen = assembler, chosen
        self._mergers: list[dict[str, TTAMerger]] = [{} for _ in range(count)]

    def __call__(self, row: int, view: ModelInput, number: int, decoded: Decoded) -> Result | None:
        """The result of the image after the last augmentation of its last tile; else None.

        Args:
            row: of the input in the batch.
            view: the input: an image or a tile.
            number: of the augmentation; they come in order.
            decoded: the decoded arrays by branch.
        """
        if tuple(self.chosen) == (PLAIN,):
            return self.assembler(view, decoded)
        mergers = self._mergers[row] or {name: self._merger(name) for name in decoded}
        self._mergers[row] = mergers
        for name, fields in decoded.items():
            mergers[name].add(fields, view.transforms[number])
        if number + 1 < len(self.chosen):
            return None
        merged: Mapping[str, Sequence[np.ndarray]] = {name: merger.finish() for name, merger in mergers.items()}
        self._mergers[row] = {}
        return self.assembler(view, merged)

    def _merger(self, name: str) -> TTAMerger:
        task, labels = self.assembler.info.branches[name]
        return get_task(task).tta_merger(labels, name in self.assembler.info.whole)
