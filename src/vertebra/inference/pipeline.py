"""From images of any size to results in the images' own pixels, whatever runs the model; without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vertebra.errors import DataError
from vertebra.inference.ahead import ahead
from vertebra.inference.results import Result, list_images
from vertebra.preprocess.images import apply, read_image, stack
from vertebra.preprocess.plan import Placement, Plan
from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec


class Face(NamedTuple):
    """What must be known of a model to use it: how images come onto its canvas, and what its branches say.

    Attributes:
        plan: how an image comes onto the canvas.
        channels: of the images.
        branches: by name, the task's name and what the labels mean.
    """

    plan: Plan
    channels: int
    branches: Mapping[str, tuple[str, LabelSpec]]


class Placed(NamedTuple):
    """An image that was read: its file or else its pixels, (height, width), where it lies on the canvas, and the canvas."""

    source: Path | np.ndarray
    size: tuple[int, int]
    place: Placement
    canvas: np.ndarray


class Pipeline(ABC):
    """Reads images, runs a model on batches of them, and makes results. Files are read and prepared, and results finished, in
    threads, while the model works on other images.

    Args:
        face: of the model.
        batch_size: images at a time.
        threshold: objects below this score are left out.
        skip_unreadable: leave unreadable files out and note them in ``skipped`` instead of raising.
    """

    def __init__(self, face: Face, *, batch_size: int, threshold: float, skip_unreadable: bool) -> None:
        self.face = face
        self.batch_size, self.threshold, self.skip_unreadable = batch_size, threshold, skip_unreadable
        self.skipped: list[str] = []

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
        """Predictions for one image, a folder, or several images.

        Args:
            images: a file, a folder (all images in it, also in folders below), a Pillow image, an (H, W, C) or (H, W)
                array of 8 or 16 bit, or a sequence of these.

        Raises:
            DataError: a file is missing or unreadable; the message names it.
        """
        return list(self.stream(list_images(images)))

    def stream(self, images: Iterable[Any]) -> Iterator[Result]:
        """Predictions one after the other, for any number of images; see `predict`."""
        batches = self._batches(self._readable(ahead(self._read, images, threads=2, most=2 * self.batch_size)))
        for results in ahead(lambda finish: finish(), map(self._compute, batches), threads=1, most=1):
            yield from results

    def _read(self, source: Any) -> Placed | DataError:
        """An image on its canvas, or why it cannot be read."""
        try:
            array = read_image(source, channels=self.face.channels)
        except DataError as error:
            return error
        height, width = array.shape[:2]
        kept = Path(source) if isinstance(source, str | Path) else array
        return Placed(kept, (height, width), *self._place(array))

    def _place(self, array: np.ndarray) -> tuple[Placement, np.ndarray]:
        """Where an image lies on its canvas, and the canvas."""
        plan = self.face.plan
        return plan.place(array.shape[0], array.shape[1]), apply(plan, array)

    def _readable(self, images: Iterable[Placed | DataError]) -> Iterator[Placed]:
        for image in images:
            if not isinstance(image, DataError):
                yield image
            elif self.skip_unreadable:
                self.skipped.append(str(image))
            else:
                raise image

    def _batches(self, images: Iterable[Placed]) -> Iterator[list[Placed]]:
        rest = iter(images)
        while batch := list(islice(rest, self.batch_size)):
            yield batch

    def _compute(self, images: list[Placed]) -> Callable[[], list[Result]]:
        """Runs the model; what comes back makes the results."""
        canvases = stack([image.canvas for image in images], self.face.plan)
        sizes = np.array([image.place.size for image in images], dtype=np.int64)
        return partial(self._finish, images, self.run(canvases, sizes))

    def _finish(self, images: list[Placed], decoded: Mapping[str, Sequence[np.ndarray]]) -> list[Result]:
        results = []
        for index, image in enumerate(images):
            predictions = {
                name: self._prediction(name, [field[index] for field in fields], image)
                for name, fields in decoded.items()
            }
            results.append(Result(predictions, image.source if isinstance(image.source, Path) else None, image.size))
        return results

    def _prediction(self, name: str, decoded: Sequence[np.ndarray], image: Placed) -> Any:
        task, labels = self.face.branches[name]
        prediction = get_task(task).from_decoded(decoded, image.place, labels, image.source)
        return prediction.with_threshold(self.threshold)
