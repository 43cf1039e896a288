"""Several looks at what a model sees at once, mirrored or at other scales, and what they say together; without torch."""

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

MOST = 4  # times the canvas: what is meant as percent or as pixels is far above


class TTAView(NamedTuple):
    """One way of looking at an image or a tile: mirrored left to right or not, on a canvas larger or smaller than the plain one."""

    flip: bool
    scale: float


PLAIN = TTAView(False, 1.0)


def views(flip: bool, scales: Sequence[float]) -> tuple[TTAView, ...]:
    """The looks at each view: at each scale, and with ``flip`` mirrored too. The plain one comes first, if it is among them.

    Raises:
        ConfigError: there are no such scales.
    """
    given = list(scales) if isinstance(scales, Iterable) else []
    for scale in given:
        number = isinstance(scale, int | float | np.number) and not isinstance(scale, bool)
        if not number or not 0 < scale <= MOST:
            raise ConfigError(
                f"'scales' must be numbers above 0 and at most {MOST}, such as 0.8, 1 and 1.25, got {scale!r}"
            )
    if not given:
        raise ConfigError("'scales' must be a list of one number or more: 1 is the canvas as it is")
    if len(set(given)) < len(given):
        raise ConfigError(f"'scales' has one twice: {', '.join(f'{scale:g}' for scale in given)}")
    return tuple(
        TTAView(mirrored, float(scale))
        for scale in sorted(given, key=lambda scale: scale != 1)
        for mirrored in ((False, True) if flip else (False,))
    )


def check_scales(text: str) -> tuple[float, ...]:
    """The scales that a command line names, such as ``0.8,1,1.25``.

    Raises:
        ConfigError: these are no numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"'scales' must be numbers with commas between, such as 0.8,1,1.25, got '{text}'") from None


def tta_views(info: ModelInfo, flip: bool, scales: Sequence[float]) -> tuple[TTAView, ...]:
    """The looks at each view, with a model that can take them; see `views`.

    Raises:
        ConfigError: there are no such scales, the model takes one size of canvas, or it must not see mirrored images.
    """
    found = views(flip, scales)
    for name, (_, labels) in info.branches.items():
        if flip and labels.mirror_refusal:
            raise ConfigError(
                f"'flip' is not for branch '{name}': {labels.mirror_refusal}. Train it so, or leave out 'flip'"
            )
    if info.fixed and any(look.scale != 1 for look in found):
        raise ConfigError(
            f"'scales' needs a model that takes canvases of any size, but {info.fixed}. Leave out 'scales'; "
            "'flip' works with any size"
        )
    return found


def render_views(
    array: np.ndarray,
    resize_spec: ResizeSpec,
    chosen: Sequence[TTAView],
    place: Callable[[ResizeSpec, np.ndarray], tuple[ImageTransform, np.ndarray]],
) -> tuple[tuple[ViewTransform, ...], tuple[np.ndarray, ...]]:
    """How an image lies on the canvas of each look, and the canvases. It is resized once for each scale.

    Args:
        array: (H, W, C) uint8.
        resize_spec: of the plain canvas.
        chosen: the looks, those of one scale after the other.
        place: where an image lies on the canvas of a plan, and the canvas.
    """
    placed = {scale: place(resize_spec.scaled(scale), array) for scale in dict.fromkeys(look.scale for look in chosen)}
    plain = placed[1.0][0] if 1.0 in placed else resize_spec.transform(array.shape[0], array.shape[1])
    sights, canvases = [], []
    for look in chosen:
        own, canvas = placed[look.scale]
        sights.append(ViewTransform(plain, own, look.flip))
        canvases.append(mirror(canvas, own.size[1]) if look.flip else canvas)
    return tuple(sights), tuple(canvases)


def mirror(canvas: np.ndarray, width: int) -> np.ndarray:
    """A canvas (height, width, C) whose first ``width`` columns are mirrored left to right; what is beside them stays."""
    if width == canvas.shape[1]:
        turned: np.ndarray = canvas[:, ::-1]
        return turned
    mirrored: np.ndarray = canvas.copy()
    mirrored[:, :width] = canvas[:, :width][:, ::-1]
    return mirrored


class TTAMerge:
    """Makes one answer out of the looks at each view of a batch, and hands it on.

    Args:
        gather: takes each view's answer.
        chosen: the looks. If there is none but the plain one, its answers are handed on as they are.
        count: views in the batch.
    """

    def __init__(self, gather: ResultAssembler, chosen: Sequence[TTAView], count: int) -> None:
        self.gather, self.chosen = gather, chosen
        self._mergers: list[dict[str, TTAMerger]] = [{} for _ in range(count)]

    def __call__(self, row: int, view: ModelInput, number: int, decoded: Decoded) -> Result | None:
        """The result of the image, if this was the last look at its last view.

        Args:
            row: of the view in the batch.
            view: what is looked at.
            number: of the look; looks come in their order.
            decoded: its decoded arrays by branch.
        """
        if tuple(self.chosen) == (PLAIN,):
            return self.gather(view, decoded)
        mergers = self._mergers[row] or {name: self._merger(name) for name in decoded}
        self._mergers[row] = mergers
        for name, fields in decoded.items():
            mergers[name].add(fields, view.sights[number])
        if number + 1 < len(self.chosen):
            return None
        merged: Mapping[str, Sequence[np.ndarray]] = {name: merger.finish() for name, merger in mergers.items()}
        self._mergers[row] = {}
        return self.gather(view, merged)

    def _merger(self, name: str) -> TTAMerger:
        task, labels = self.gather.info.branches[name]
        return get_task(task).tta_merger(labels, name in self.gather.info.whole)
