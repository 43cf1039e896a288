"""From what a model sees at once, an image or a tile of one, to the results of images; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vertebra.inference.io.inputs import Image
from vertebra.inference.results import Result
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.preprocess.tiles import Grid, Tile
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks import get_task
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.task import TileMerger

Decoded = Mapping[str, Sequence[np.ndarray]]


class ModelInput(NamedTuple):
    """One tile of an image, or the whole image, as the model takes it.

    Attributes:
        image: that was read.
        grid: the tiles of the image.
        tile: the one of this input.
        last: whether it is the last input of the image.
        sights: for each test-time augmentation, where the tile lies on the canvas.
        canvases: for each test-time augmentation, (height, width, C) uint8.
    """

    image: Image
    grid: Grid
    tile: Tile
    last: bool
    sights: tuple[ViewTransform, ...]
    canvases: tuple[np.ndarray, ...]

    @property
    def transform(self) -> ImageTransform:
        """Where it lies on the plain canvas."""
        return self.sights[0].plain

    @property
    def canvas(self) -> np.ndarray:
        """The first canvas; inputs with first canvases of one shape have the others of one shape too."""
        return self.canvases[0]


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
        if len(view.grid) == 1:
            predictions = {name: self._prediction(name, fields, view) for name, fields in decoded.items()}
            return image.result(predictions)
        for name, fields in decoded.items():
            if name not in self.info.whole:
                merger = self._merger(name, view.grid)
                if not view.tile.whole or merger.adds_whole_image:
                    merger.add(fields, view.transform, view.tile)
        if not view.last:
            return None
        mergers, self._mergers = self._mergers, {}
        predictions = {
            name: mergers[name].finish(image.source) if name in mergers else self._prediction(name, fields, view)
            for name, fields in decoded.items()
        }
        return image.result(predictions)

    def _merger(self, name: str, grid: Grid) -> TileMerger:
        if name not in self._mergers:
            task, labels = self.info.branches[name]
            rule = get_task(task).tile_merger
            assert rule is not None, "a task without a rule for tiles speaks of the whole image"
            self._mergers[name] = rule(labels, grid, self.threshold)
        return self._mergers[name]

    def _prediction(self, name: str, decoded: Sequence[np.ndarray], view: ModelInput) -> Prediction:
        task, labels = self.info.branches[name]
        prediction = get_task(task).from_decoded(decoded, view.transform, labels, view.image.source)
        return prediction.filter(min_score=self.threshold) if prediction.thresholded else prediction
