"""Tiles and test-time augmentation on top of a pipeline; without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vertebra.inference.io.inputs import Image
from vertebra.inference.io.prefetch import prefetch
from vertebra.inference.result_assembler import Decoded, ModelInput, ResultAssembler
from vertebra.inference.results import Result, Unreadable
from vertebra.inference.tta import PLAIN, TTAMerge, TTAView, render_views, tta_views
from vertebra.model_info import check_tiling
from vertebra.preprocess.images import stack
from vertebra.preprocess.tiles import Grid, Tile, check_tiles, grid
from vertebra.tasks import get_task

if TYPE_CHECKING:
    from vertebra.inference.pipeline import Pipeline


def multi_view(
    pipeline: Pipeline, *, tile: int | None, overlap: float, flip: bool, scales: Sequence[float]
) -> MultiView | None:
    """A `MultiView` for these options; None if each image is run once, as a whole.

    Raises:
        ConfigError: the tiles or scales are invalid, or the model does not support them.
    """
    if tile is not None:
        check_tiles(tile, overlap)
        check_tiling(pipeline.info)
    chosen = tta_views(pipeline.info, flip, scales)
    return None if tile is None and chosen == (PLAIN,) else MultiView(pipeline, chosen, tile, overlap)


class MultiView:
    """Runs the model on tiles and augmented copies of each image, and merges the outputs.

    Args:
        pipeline: reads images, puts them onto canvases and runs the model.
        chosen: the test-time augmentations of each tile or image; see `vertebra.inference.tta`.
        tile: side of the square tiles in image pixels, or None for the whole image.
        overlap: minimum overlap of neighboring tiles, as a fraction of their side.
    """

    def __init__(self, pipeline: Pipeline, chosen: Sequence[TTAView], tile: int | None, overlap: float) -> None:
        self.pipeline, self.chosen, self.tile, self.overlap = pipeline, tuple(chosen), tile, overlap
        info = pipeline.info
        tasks = [get_task(task).tile_merger for name, (task, _) in info.branches.items() if name not in info.whole]
        self._whole_too = bool(info.whole) or any(rule is not None and rule.adds_whole_image for rule in tasks)

    def compute(self, images: Iterable[object]) -> Iterator[Callable[[], list[Result]]]:
        """Runs the model on batches, once for each test-time augmentation. Each yielded function returns the results of the images
        that are complete."""
        assembler = ResultAssembler(self.pipeline.info, self.pipeline.thresholds, self.pipeline.probabilities)
        views = self._whole_images(images) if self.tile is None else self._tiles(images)
        for batch in self.pipeline._batches(views):
            yield from self._compute(assembler, batch)

    def _whole_images(self, images: Iterable[object]) -> Iterator[ModelInput]:
        """Each image as one tile."""
        max_pending = 2 * self.pipeline.batch_size
        return self.pipeline._readable(prefetch(self._whole_image, images, threads=2, max_pending=max_pending))

    def _tiles(self, images: Iterable[object]) -> Iterator[ModelInput]:
        """The tiles of each image. Images are large here: one is in use, and one or two are prefetched."""
        pipeline = self.pipeline
        read = pipeline._readable(prefetch(pipeline._read, images, threads=1, max_pending=1))
        parts = (part for image, array in read for part in self._parts(image, array))
        return prefetch(lambda part: self._view(*part), parts, threads=2, max_pending=2 * pipeline.batch_size)

    def _parts(self, image: Image, array: np.ndarray) -> Iterator[tuple[Image, np.ndarray, Grid, Tile, bool]]:
        """The tiles of an image, row by row, and then the whole image if the model's tasks need it."""
        assert self.tile is not None
        tiles = grid(image.size, self.tile, self.overlap)
        whole_too = self._whole_too and len(tiles) > 1
        for number, tile in enumerate(tiles, start=1):
            yield image, array, tiles, tile, number == len(tiles) and not whole_too
        if whole_too:
            yield image, array, tiles, Tile(0, 0, *image.size, image.size), True

    def _whole_image(self, source: object) -> ModelInput | Unreadable:
        read = self.pipeline._read(source)
        if isinstance(read, Unreadable):
            return read
        image, array = read
        size = image.size
        return self._view(image, array, Grid(size, size, (0,), (0,)), Tile(0, 0, *size, size), True)

    def _view(self, image: Image, array: np.ndarray, tiles: Grid, tile: Tile, last: bool) -> ModelInput:
        transforms, canvases = render_views(
            tile.of(array), self.pipeline.info.resize_spec, self.chosen, self.pipeline._canvas
        )
        return ModelInput(image, tiles, tile, last, transforms, canvases)

    def _compute(self, assembler: ResultAssembler, views: list[ModelInput]) -> Iterator[Callable[[], list[Result]]]:
        merge = TTAMerge(assembler, self.chosen, len(views))
        for number in range(len(self.chosen)):
            canvases = stack([view.canvases[number] for view in views], self.pipeline.info.resize_spec)
            sizes = np.array([view.transforms[number].view.size for view in views], dtype=np.int64)
            yield partial(_finish, merge, views, number, self.pipeline.run(canvases, sizes))


def _finish(merge: TTAMerge, views: list[ModelInput], number: int, decoded: Decoded) -> list[Result]:
    """The results of the images of a batch that are complete after this augmentation."""
    results = []
    for index, view in enumerate(views):
        values = {name: [field[index] for field in fields] for name, fields in decoded.items()}
        result = merge(index, view, number, values)
        if result is not None:
            results.append(result)
    return results
