"""From images of any size to results in the images' own pixels, whatever runs the model; without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vertebra.errors import DataError
from vertebra.inference.io.inputs import check_ends, runs
from vertebra.inference.io.prefetch import prefetch
from vertebra.inference.io.video import VideoFrame
from vertebra.inference.result_assembler import Decoded, Image, ModelInput, ResultAssembler
from vertebra.inference.results import Result, Skipped, Unreadable, list_images
from vertebra.inference.tta import TTAMerge, render_views, tta_views
from vertebra.model_info import ModelInfo, check_tiling
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import apply, read_image, source_name, stack
from vertebra.preprocess.tiles import Grid, Tile, check_tiles, grid
from vertebra.tasks import get_task

Read = TypeVar("Read")


class Pipeline(ABC):
    """Reads images, runs a model on batches of them, and makes results. Files are read and prepared, and results finished, in
    threads, while the model works on other images.

    Args:
        info: of the model.
        batch_size: images, or tiles, at a time.
        threshold: objects below this score are left out.
        skip_unreadable: leave unreadable files out and note them in ``skipped`` instead of raising.
        tile: side in image pixels of the square tiles that larger images are looked at in; None: always the whole image.
        overlap: least overlap of neighboring tiles, as a part of their side.
        flip: look at each image, or tile, mirrored too; see `vertebra.inference.tta`.
        scales: of the canvas; at each the image is looked at.

    Raises:
        ConfigError: there are no such tiles or scales, or the model cannot be used with them.
    """

    def __init__(
        self,
        info: ModelInfo,
        *,
        batch_size: int = 8,
        threshold: float = 0.3,
        skip_unreadable: bool = False,
        tile: int | None = None,
        overlap: float = 0.2,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        self.info = info
        self.batch_size, self.threshold, self.skip_unreadable = batch_size, threshold, skip_unreadable
        self.tile, self.overlap = tile, overlap
        if tile is not None:
            check_tiles(tile, overlap)
            check_tiling(info)
        self.views = tta_views(info, flip, scales)
        tasks = [get_task(task).tiles for name, (task, _) in info.branches.items() if name not in info.whole]
        self._whole_too = bool(info.whole) or any(rule is not None and rule.whole_too for rule in tasks)
        self.skipped: list[Skipped] = []

    @abstractmethod
    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """Decoded outputs.

        Args:
            canvases: (N, height, width, C) uint8.
            sizes: (N, 2) int64, (height, width) of each one's valid pixels.

        Returns:
            By branch, the fields of its task's decoded outputs in their order, each (N, ...).
        """

    def predict(self, images: Any) -> list[Result]:
        """Predictions for one image, a folder, a video, or several of them.

        Args:
            images: a file, a folder (all images in it, also in folders below), a pattern (``photos/**/*.jpg``), a Pillow
                image, an (H, W, C) or (H, W) array of 8 or 16 bit, or a sequence of these. Of a video each frame has a
                result, which holds its pixels: `stream` does not keep them.

        Raises:
            DataError: a file is missing or unreadable; the message names it.
            ConfigError: a live source, which has no end.
        """
        listed = list_images(images)
        check_ends(listed)
        return list(self.stream(listed))

    def stream(self, images: Iterable[Any]) -> Generator[Result, None, None]:
        """Predictions one after the other, for any number of images and videos, a bounded number of them in memory; see
        `predict`. Of a live source (``camera:0``, ``rtsp://...``) the newest frame is looked at each time, until it ends.
        """
        for live, run in runs(images):
            for part in ([image] for image in run) if live else [run]:
                yield from self._stream(part)

    def _stream(self, images: Iterable[Any]) -> Iterator[Result]:
        """Predictions for images, and for frames."""
        views = self._tiles(images) if self.tile is not None else self._whole(images)
        gather = ResultAssembler(self.info, self.threshold)
        computed = (finish for batch in self._batches(views) for finish in self._compute(gather, batch))
        for results in prefetch(lambda finish: finish(), computed, threads=1, most=1):
            yield from results

    def _whole(self, images: Iterable[Any]) -> Iterator[ModelInput]:
        """Each image on its canvas."""
        return self._readable(prefetch(self._placed, images, threads=2, most=2 * self.batch_size))

    def _tiles(self, images: Iterable[Any]) -> Iterator[ModelInput]:
        """Each tile of each image on its canvas. Images are large here: one is used, and one or two are read ahead."""
        read = self._readable(prefetch(self._read, images, threads=1, most=1))
        parts = (part for image, array in read for part in self._parts(image, array))
        return prefetch(lambda part: self._view(*part), parts, threads=2, most=2 * self.batch_size)

    def _parts(self, image: Image, array: np.ndarray) -> Iterator[tuple[Image, np.ndarray, Tile, bool]]:
        """What is looked at in an image: its tiles, row by row, and then perhaps all of it."""
        whole_too = self._whole_too and len(image.grid) > 1
        for number, tile in enumerate(image.grid, start=1):
            yield image, array, tile, number == len(image.grid) and not whole_too
        if whole_too:
            yield image, array, Tile(0, 0, *image.size, image.size), True

    def _read(self, source: Any) -> tuple[Image, np.ndarray] | Unreadable:
        """An image and its pixels, or why it cannot be read."""
        if isinstance(source, Unreadable):
            return source
        frame_info = source.frame_info if isinstance(source, VideoFrame) else None
        try:
            array = read_image(source.pixels if frame_info else source, channels=self.info.channels)
        except DataError as error:
            return Unreadable(source_name(frame_info.source if frame_info else source), error)
        height, width = array.shape[:2]
        kept = Path(source) if isinstance(source, str | Path) else array
        size = (height, width)
        tiles = Grid(size, size, (0,), (0,)) if self.tile is None else grid(size, self.tile, self.overlap)
        return Image(kept, size, tiles, frame_info), array

    def _placed(self, source: Any) -> ModelInput | Unreadable:
        """An image on its canvas, or why it cannot be read."""
        read = self._read(source)
        if isinstance(read, Unreadable):
            return read
        image, array = read
        return self._view(image, array, Tile(0, 0, *image.size, image.size), True)

    def _view(self, image: Image, array: np.ndarray, tile: Tile, last: bool) -> ModelInput:
        return ModelInput(
            image, tile, last, *render_views(tile.of(array), self.info.resize_spec, self.views, self._place)
        )

    def _place(self, resize_spec: ResizeSpec, array: np.ndarray) -> tuple[ImageTransform, np.ndarray]:
        """Where an image lies on the canvas of a plan, and the canvas."""
        return resize_spec.place(array.shape[0], array.shape[1]), apply(resize_spec, array)

    def _readable(self, images: Iterable[Read | Unreadable]) -> Iterator[Read]:
        for image in images:
            if not isinstance(image, Unreadable):
                yield image
            elif self.skip_unreadable:
                self.skipped.append(Skipped(image.source, str(image.error)))
            else:
                raise image.error

    def _batches(self, views: Iterable[ModelInput]) -> Iterator[list[ModelInput]]:
        rest = iter(views)
        while batch := list(islice(rest, self.batch_size)):
            yield batch

    def _compute(self, gather: ResultAssembler, views: list[ModelInput]) -> Iterator[Callable[[], list[Result]]]:
        """Runs the model, once for each look; what comes back makes the results of images that are seen to their end."""
        together = TTAMerge(gather, self.views, len(views))
        for number in range(len(self.views)):
            canvases = stack([view.canvases[number] for view in views], self.info.resize_spec)
            sizes = np.array([view.sights[number].own.size for view in views], dtype=np.int64)
            yield partial(_finish, together, views, number, self.run(canvases, sizes))


def _finish(together: TTAMerge, views: list[ModelInput], number: int, decoded: Decoded) -> list[Result]:
    """The results of those images of a batch that are seen to their end with this look."""
    results = []
    for index, view in enumerate(views):
        own = {name: [field[index] for field in fields] for name, fields in decoded.items()}
        result = together(index, view, number, own)
        if result is not None:
            results.append(result)
    return results
