"""From what a model sees at once, an image or a tile of one, to the results of images; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vertebra.inference.io.video import FrameInfo
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.preprocess.tiles import Grid, Tile
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks import get_task
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.task import TileMerger

Decoded = Mapping[str, Sequence[np.ndarray]]


class Image(NamedTuple):
    """An image that was read: its file or else its pixels, (height, width), its tiles, and of a frame which one it is."""

    source: Path | np.ndarray
    size: tuple[int, int]
    grid: Grid
    frame_info: FrameInfo | None = None


class ModelInput(NamedTuple):
    """What the model sees of an image at once: a tile, or all of it; whether it is the last; for each look at it how it lies on
    the look's canvas, and the canvas."""

    image: Image
    tile: Tile
    last: bool
    sights: tuple[ViewTransform, ...]
    canvases: tuple[np.ndarray, ...]

    @property
    def place(self) -> ImageTransform:
        """Where it lies on the plain canvas."""
        return self.sights[0].plain


class ResultAssembler:
    """Makes the results of images out of their views, which come one after the other.

    Args:
        info: of the model.
        threshold: objects below this score are left out.
    """

    def __init__(self, info: ModelInfo, threshold: float) -> None:
        self.info, self.threshold = info, threshold
        self._mergers: dict[str, TileMerger] = {}

    def __call__(self, view: ModelInput, decoded: Decoded) -> Result | None:
        """The result of the image, if this was its last view."""
        image = view.image
        if len(image.grid) == 1:
            predictions = {name: self._prediction(name, fields, view) for name, fields in decoded.items()}
            return self._result(image, predictions)
        for name, fields in decoded.items():
            if name not in self.info.whole:
                merger = self._merger(name, image)
                if not view.tile.whole or merger.whole_too:
                    merger.add(fields, view.place, view.tile)
        if not view.last:
            return None
        mergers, self._mergers = self._mergers, {}
        predictions = {
            name: mergers[name].finish(image.source) if name in mergers else self._prediction(name, fields, view)
            for name, fields in decoded.items()
        }
        return self._result(image, predictions)

    def _merger(self, name: str, image: Image) -> TileMerger:
        if name not in self._mergers:
            task, labels = self.info.branches[name]
            rule = get_task(task).tiles
            assert rule is not None, "a task without a rule for tiles speaks of the whole image"
            self._mergers[name] = rule(labels, image.grid, self.threshold)
        return self._mergers[name]

    def _prediction(self, name: str, decoded: Sequence[np.ndarray], view: ModelInput) -> Prediction:
        task, labels = self.info.branches[name]
        prediction = get_task(task).from_decoded(decoded, view.place, labels, view.image.source)
        return prediction.filter(min_score=self.threshold) if prediction.thresholded else prediction

    def _result(self, image: Image, predictions: dict[str, Prediction]) -> Result:
        file = image.source if image.frame_info is None else image.frame_info.source
        return Result(predictions, file if isinstance(file, Path) else None, image.size, image.frame_info)
