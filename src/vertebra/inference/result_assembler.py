"""Assembles the results of images from the outputs for their tiles; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vertebra.inference.io.inputs import Image
from vertebra.inference.results import Result, join_attributes
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.preprocess.tiles import Grid, Tile
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks import get_task
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.task import TileMerger
from vertebra.tasks.thresholds import ScoreThreshold

Decoded = Mapping[str, Sequence[np.ndarray]]


class ModelInput(NamedTuple):
    """One tile of an image, or the whole image, as input of the model.

    Attributes:
        image: the image without its pixels.
        grid: all tiles of the image.
        tile: the tile of this input.
        last: whether this is the last input of the image.
        transforms: for each test-time augmentation, from tile to canvas coordinates.
        canvases: for each test-time augmentation, (height, width, C) uint8.
    """

    image: Image
    grid: Grid
    tile: Tile
    last: bool
    transforms: tuple[ViewTransform, ...]
    canvases: tuple[np.ndarray, ...]

    @property
    def transform(self) -> ImageTransform:
        """From image to canvas coordinates, without test-time augmentation."""
        return self.transforms[0].plain

    @property
    def canvas(self) -> np.ndarray:
        """The first canvas. If the first canvases of two inputs have the same shape, so have the others."""
        return self.canvases[0]


class ResultAssembler:
    """Assembles the results of images from the decoded outputs of their inputs, which come in order.

    Args:
        info: of the model.
        thresholds: the minimum score of each branch; see `vertebra.inference.pipeline.score_thresholds`.
        probabilities: whether predictions of whole images keep the probabilities of each class at each pixel.
    """

    def __init__(
        self, info: ModelInfo, thresholds: Mapping[str, ScoreThreshold | None], probabilities: bool = False
    ) -> None:
        self.info, self.thresholds, self.probabilities = info, thresholds, probabilities
        self._mergers: dict[str, TileMerger] = {}

    def __call__(self, view: ModelInput, decoded: Decoded) -> Result | None:
        """The result of the image after its last input, else None."""
        image = view.image
        if len(view.grid) == 1:
            predictions = {name: self._prediction(name, fields, view) for name, fields in decoded.items()}
            return image.result(join_attributes(predictions, self.info.attributes))
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
        return image.result(join_attributes(predictions, self.info.attributes))

    def _merger(self, name: str, grid: Grid) -> TileMerger:
        if name not in self._mergers:
            task, labels = self.info.branches[name]
            rule = get_task(task).tile_merger
            assert rule is not None, "a task without a tile merger predicts one thing for the whole image"
            self._mergers[name] = rule(labels, grid, self.thresholds[name])
        return self._mergers[name]

    def _prediction(self, name: str, decoded: Sequence[np.ndarray], view: ModelInput) -> Prediction:
        task, labels = self.info.branches[name]
        predict_from = get_task(task).predict_from(self.probabilities, self.thresholds[name])
        return predict_from(decoded, view.transform, labels, view.image.source)
