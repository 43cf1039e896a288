"""From images of any size to results in the images' pixels, with any runtime; without torch."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.errors import ImageRangeWarning
from vertebra.inference.io.inputs import Image, as_sequences, finite_sources, is_image, read_source, runs
from vertebra.inference.io.prefetch import prefetch
from vertebra.inference.results import Result, Skipped, Unreadable, join_attributes
from vertebra.keywords import check_count, check_fraction
from vertebra.model_info import ModelInfo, check_probabilities
from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import apply, stack
from vertebra.preprocess.number_range import RangeUse
from vertebra.tasks import get_task
from vertebra.tasks.thresholds import ScoreThreshold

if TYPE_CHECKING:
    from vertebra.inference.multi_view import MultiView
    from vertebra.inference.result_tracker import TrackingPlan

Track: TypeAlias = bool | str | Mapping[str, Any] | None
Read = TypeVar("Read")


class CanvasImage(NamedTuple):
    """An image on its canvas.

    Attributes:
        image: the image without its pixels.
        transform: from image to canvas coordinates.
        canvas: (height, width, C) uint8.
    """

    image: Image
    transform: ImageTransform
    canvas: np.ndarray


Ready = TypeVar("Ready", bound=Any)  # a CanvasImage or a ModelInput


class Pipeline(ABC):
    """Reads images, runs a model on batches of them, and makes results. Threads read files and make results while the model runs
    on other images.

    Args:
        info: of the model.
        batch_size: images or tiles per batch.
        threshold: minimum score of objects, of all classes. By default the scores that the model stores by class, and 0.3 for a
            model without them. Of classes that may overlap it is the one of ``accepted``.
        skip_unreadable: collect unreadable files in ``skipped`` instead of raising.
        tile: side in image pixels of the square tiles that larger images are cut into; None: always the whole image.
        overlap: minimum overlap of neighboring tiles, as a fraction of their side.
        flip: also run the model on the mirrored image or tile; see `vertebra.inference.tta`.
        scales: factors of the canvas size; the model runs at each of them.
        probabilities: keep the probabilities of each class at each pixel, in the image's size, as ``probabilities`` of segmentation
            predictions: (K, H, W) float32, 4 bytes for each pixel and class.
        track: give the objects of videos ids: True, the name of a tracker ("bytetrack", "ocsort"), or a mapping of its options with
            the tracker as ``name``; see `vertebra.Tracker`. None for no tracks.

    Attributes:
        skipped: unreadable files, each with the reason.
        notes: counts of objects that have no track.

    Raises:
        ConfigError: the batch size, threshold, tiles, scales or options of the tracker are not valid, or the model does not support
            them or ``probabilities``.
    """

    def __init__(
        self,
        info: ModelInfo,
        *,
        batch_size: int = 8,
        threshold: float | None = None,
        skip_unreadable: bool = False,
        tile: int | None = None,
        overlap: float = 0.2,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        probabilities: bool = False,
        track: Track = None,
    ) -> None:
        check_count("batch_size", batch_size)
        if threshold is not None:
            check_fraction("threshold", threshold)
        if probabilities:
            check_probabilities(info, tile)
        self.info, self.probabilities = info, probabilities
        self.batch_size, self.threshold, self.skip_unreadable = batch_size, threshold, skip_unreadable
        self.skipped: list[Skipped] = []
        self._range_use = RangeUse(info.resize_spec.scale)
        self.notes: list[Note] = []
        self.thresholds = score_thresholds(info, threshold)
        self.tracking: TrackingPlan | None = None
        if track is not None and track is not False:
            from vertebra.inference.result_tracker import TrackingPlan

            self.tracking = TrackingPlan(info, track, self.thresholds)
            self.thresholds = self.tracking.thresholds
        self.multi_view: MultiView | None = None
        if tile is not None or flip or str(scales) != "(1.0,)":  # True == 1, but is not a valid scale
            from vertebra.inference.multi_view import multi_view

            self.multi_view = multi_view(self, tile=tile, overlap=overlap, flip=flip, scales=scales)

    @abstractmethod
    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        """Decoded outputs.

        Args:
            canvases: (N, height, width, C) uint8.
            sizes: (N, 2) int64, (height, width) of each one's valid pixels.

        Returns:
            For each branch, the fields of its task's decoded outputs in order, each (N, ...).
        """

    def predict(self, images: Any) -> list[Result]:
        """Predictions for one image, a folder, a video, or several of them.

        Args:
            images: a file, a folder (all images in it, also in folders below), a pattern (``photos/**/*.jpg``), the address of an
                image (``https://...``), a Pillow image, an array (H, W, C) or (H, W), a tensor (C, H, W) or (H, W), arrays
                (N, H, W, C) or tensors (N, C, H, W) of several images, the bytes of an image file, or a list of these. What the
                numbers of arrays and tensors mean: `vertebra.preprocess.number_range`. A video gives a result for each frame,
                which holds the frame's pixels; `stream` does not keep them.

        Raises:
            DataError: an image is missing or unreadable; the message has its name and its index in a list.
            ConfigError: a live source, which has no end; or an image, if objects are tracked.
        """
        sources = finite_sources(images if self.tracking is None else as_sequences(images))
        if self.tracking is not None:
            from vertebra.inference.result_tracker import check_frames

            check_frames(sources)
        if self.multi_view is not None or len(sources) != 1 or not is_image(sources[0]):
            return list(self.stream(sources))
        for image, array in self._readable([self._read(sources[0])]):  # one image needs no threads
            self._warn_of_range()
            batch = [CanvasImage(image, *self._canvas(self.info.resize_spec, array))]
            return self._finish(batch, self.run(*self._stacked(batch)))
        return []

    def stream(self, images: Any) -> Generator[Result, None, None]:
        """Predictions one by one, for any number of images and videos with bounded memory; see `predict`. A live source
        (``camera:0``, ``rtsp://...``) gives its newest frame each time, until it ends.

        Args:
            images: an iterable of files, videos, addresses or images in memory; or one entry, as `predict` takes it.
        """
        if self.tracking is not None:
            yield from self._tracked(self.tracking, as_sequences(images))
        else:
            yield from self._untracked(images)
        self._warn_of_range()

    def _untracked(self, images: Any) -> Iterator[Result]:
        """Predictions for images, videos and live sources."""
        for live, run in runs(images):
            for part in ([image] for image in run) if live else [run]:
                yield from self._stream(part)

    def _tracked(self, plan: TrackingPlan, images: Any) -> Iterator[Result]:
        """Predictions for videos and live sources, with track ids."""
        from vertebra.inference.result_tracker import ResultTracker

        tracker = ResultTracker(plan)
        try:
            yield from map(tracker, self._untracked(images))
        finally:
            self.notes += tracker.notes()

    def _stream(self, images: Iterable[Any]) -> Iterator[Result]:
        """Predictions for images and frames."""
        computed = self._compute(images) if self.multi_view is None else self.multi_view.compute(images)
        for results in prefetch(lambda finish: finish(), computed, threads=1, max_pending=1):
            yield from results

    def _compute(self, images: Iterable[Any]) -> Iterator[Callable[[], list[Result]]]:
        """Runs the model on batches of images. Each function that comes back makes the results of one batch."""
        prepared = prefetch(self._prepare, images, threads=2, max_pending=2 * self.batch_size)
        for batch in self._batches(self._readable(prepared)):
            yield partial(self._finish, batch, self.run(*self._stacked(batch)))

    def _read(self, source: Any) -> tuple[Image, np.ndarray] | Unreadable:
        """An image and its pixels, or why it cannot be read."""
        return read_source(source, self.info.channels, self.info.resize_spec.scale, self._range_use)

    def _warn_of_range(self) -> None:
        """Warns once of images of more than 8 bits that use a small part of the range of their type, with their number."""
        use, self._range_use = self._range_use, RangeUse(self.info.resize_spec.scale)
        for line in use.warnings():
            warnings.warn(line, ImageRangeWarning, stacklevel=3)

    def _prepare(self, source: Any) -> CanvasImage | Unreadable:
        """An image on its canvas, or why it cannot be read."""
        read = self._read(source)
        if isinstance(read, Unreadable):
            return read
        image, array = read
        return CanvasImage(image, *self._canvas(self.info.resize_spec, array))

    def _canvas(self, resize_spec: ResizeSpec, array: np.ndarray) -> tuple[ImageTransform, np.ndarray]:
        """An image on the canvas of a resize specification, with the transform."""
        return resize_spec.transform(array.shape[0], array.shape[1]), apply(resize_spec, array)

    def _readable(self, images: Iterable[Read | Unreadable]) -> Iterator[Read]:
        """The images that could be read; the others are collected in ``skipped``, or raise."""
        for image in images:
            if not isinstance(image, Unreadable):
                yield image
            elif self.skip_unreadable:
                self.skipped.append(Skipped(image.source, str(image.error)))
            else:
                raise image.error

    def _batches(self, images: Iterable[Ready]) -> Iterator[list[Ready]]:
        remaining = iter(images)
        while batch := list(islice(remaining, self.batch_size)):
            yield batch

    def _stacked(self, batch: Sequence[CanvasImage]) -> tuple[np.ndarray, np.ndarray]:
        """The arguments of `run`."""
        sizes = np.array([ready.transform.size for ready in batch], dtype=np.int64)
        return stack([ready.canvas for ready in batch], self.info.resize_spec), sizes

    def _finish(self, batch: Sequence[CanvasImage], decoded: Mapping[str, Sequence[np.ndarray]]) -> list[Result]:
        """The results of a batch."""
        results = []
        for row, (image, transform, _) in enumerate(batch):
            predictions = {}
            for name, fields in decoded.items():
                task, labels = self.info.branches[name]
                values = [field[row] for field in fields]
                predict_from = get_task(task).predict_from(self.probabilities, self.thresholds[name])
                predictions[name] = predict_from(values, transform, labels, image.source)
            results.append(image.result(join_attributes(predictions, self.info.attributes)))
        return results


def score_thresholds(info: ModelInfo, given: float | None) -> dict[str, ScoreThreshold | None]:
    """The minimum score of each branch that prediction applies, see `vertebra.tasks.prediction.Prediction.choose_threshold`; of
    attributes it is that of their boxes.

    Args:
        info: of the model.
        given: the user's, for all branches; None for those that the model stores, or the defaults.
    """
    chosen = {
        name: get_task(task).prediction.choose_threshold(labels, given, info.thresholds.get(name, {}))
        for name, (task, labels) in info.branches.items()
    }
    return chosen | {name: chosen[source] for name, source in info.attributes.items()}
