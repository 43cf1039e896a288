"""Two models in a row: the first one's boxes are cut out of the image, and the second one looks at each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vertebra.errors import ConfigError, DataError
from vertebra.inference.io.image_urls import ImageUrl
from vertebra.inference.io.inputs import finite_sources, read_source, runs
from vertebra.inference.predictor import Predictor
from vertebra.inference.results import Result, Unreadable
from vertebra.model import Branch, VisionModel
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import all_tasks, get_task
from vertebra.tasks.crops import Crops

if TYPE_CHECKING:
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class _Found:
    """The boxes of one image.

    Attributes:
        image: (H, W, C) uint8.
        boxes: (M, 4) xyxy in its pixels.
        scores: (M,).
        result: what the first model said; without predictions where boxes were given.
    """

    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    result: Result

    @property
    def source(self) -> ImageLike:
        """The image, for pictures."""
        return self.image if self.result.frame_info or self.result.path is None else self.result.path


class Cascade:
    """Runs a second model on each box that a first one finds.

    Each box is cut out of the *image* with a margin, at the second model's aspect (nothing is stretched; what lies
    beside the image is filled), so that small objects are seen at the second model's full size. That costs one run of
    its backbone for each box; a branch with ``boxes_from: boxes`` shares one run of one backbone among all boxes of an image.

    The second model may classify, detect, or find keypoints (those of one object that fills the image). All results are
    in the original image's pixels: keypoints have the first model's boxes, and scores that are the product of both.

    Args:
        detector: gives the boxes; None where they are given to `predict`.
        model: looks at each box. Its branches' names must differ from the detector's.
        boxes_from: the detector's branch whose boxes are taken; None where it has one branch with boxes.
        margin: a box is enlarged by this factor before it is cut out.
        threshold: objects below this score are left out, of both models.
        device: "cpu", "cuda", "mps" …; by default the best there is.
        batch_size: images, or cut-outs, at a time.

    Raises:
        ConfigError: a branch that is missing or named twice, a task that does not fit, or a margin below 1.
    """

    def __init__(
        self,
        detector: VisionModel | None,
        model: VisionModel,
        *,
        boxes_from: str | None = None,
        margin: float = 1.25,
        threshold: float = 0.3,
        device: str | torch.device | None = None,
        batch_size: int = 8,
    ) -> None:
        if margin < 1:
            raise ConfigError(f"'margin' must be 1 or more, got {margin}")
        self.boxes_from = None if detector is None else _boxes_branch(detector, boxes_from)
        _check_second(detector, model)
        options: dict[str, Any] = {"device": device, "batch_size": batch_size}
        self.first = None if detector is None else Predictor(detector, threshold=threshold, **options)
        self.second = Predictor(model, threshold=0.0, **options)
        self.margin, self.threshold = margin, threshold

    def predict(self, images: Any, boxes: Sequence[Any] | None = None) -> list[Result]:
        """Predictions of both models for one image, a folder, or several images.

        Args:
            images: as `vertebra.inference.predictor.Predictor.predict` takes them.
            boxes: for each image its boxes (M, 4), xyxy in the image's pixels, instead of the detector's.

        Raises:
            DataError: an image is missing or unreadable, or boxes do not fit the images.
            ConfigError: there is no detector, and no boxes are given.
        """
        listed = finite_sources(images)
        if boxes is None:
            return list(self.stream(listed))
        if len(boxes) != len(listed):
            raise DataError(f"boxes for {len(boxes)} images were given, but there are {len(listed)} images")
        return [
            result
            for chunk in _chunks(list(zip(listed, boxes, strict=True)), self.second.batch_size)
            for result in self._look([self._given(*pair) for pair in chunk])
        ]

    def stream(self, images: Iterable[Any]) -> Iterator[Result]:
        """Predictions one after the other, for any number of images; see `predict`."""
        if self.first is None:
            raise ConfigError("this cascade has no detector; give the boxes: predict(images, boxes=...)")
        for live, run in runs(images):
            for chunk in _chunks(run, 1 if live else self.first.batch_size):
                chunk = [source.loaded() if isinstance(source, ImageUrl) else source for source in chunk]
                found = zip(chunk, self.first.predict(chunk), strict=True)
                yield from self._look([self._detected(source, result) for source, result in found])

    def _read(self, source: Any) -> np.ndarray:
        channels: Any = self.second.model.backbone.in_channels
        read = read_source(source, channels)
        if isinstance(read, Unreadable):
            raise read.error
        return read[1]

    def _detected(self, source: Any, result: Result) -> _Found:
        prediction = result[str(self.boxes_from)]
        return _Found(self._read(source), prediction.boxes, prediction.scores, result)

    def _given(self, source: Any, boxes: Any) -> _Found:
        array = np.asarray(boxes, dtype=np.float32).reshape(-1, 4) if np.size(boxes) == 0 else np.asarray(boxes)
        if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
            raise DataError(f"the boxes of an image must be (M, 4) finite numbers, got shape {array.shape}")
        image = self._read(source)
        path = Path(source) if isinstance(source, str | Path) else None
        ones = np.ones(len(array), dtype=np.float32)
        return _Found(image, array.astype(np.float32), ones, Result({}, path, (image.shape[0], image.shape[1])))

    def _look(self, found: Sequence[_Found]) -> list[Result]:
        """Runs the second model on all boxes of some images at once."""
        model = self.second.model
        cuts = [[cut_out(own.image, box, self.margin, model.resize_spec) for box in own.boxes] for own in found]
        seen = iter(self.second.predict([crop for own in cuts for crop, _ in own]))
        results = []
        for own, places in zip(found, cuts, strict=True):
            parts = [next(seen) for _ in places]
            corners = np.array([corner for _, corner in places], dtype=np.float64).reshape(-1, 2)
            gathered = {
                name: _merge(model.branch(name), [part[name] for part in parts], corners, own, self.threshold)
                for name in model.branches
            }
            first = own.result
            results.append(Result({**first, **gathered}, first.path, first.size, first.frame_info))
        return results


def cut_out(
    image: np.ndarray, box: np.ndarray, margin: float, resize_spec: ResizeSpec
) -> tuple[np.ndarray, tuple[int, int]]:
    """A box of an image with what is around it, at the aspect of a canvas.

    Args:
        image: (H, W, C) uint8.
        box: (4,) xyxy in its pixels.
        margin: the box is enlarged by this factor, and then along one axis to the canvas' aspect.
        resize_spec: of the model that will look at it.

    Returns:
        (h, w, C) uint8 in the image's own resolution, with the plan's fill beside the image; and the (x, y) of its top
        left corner in the image's pixels.
    """
    left, top, right, bottom = (float(side) for side in box)
    width, height = max((right - left) * margin, 1.0), max((bottom - top) * margin, 1.0)
    aspect = 1.0 if resize_spec.mode == "shortest_edge" else resize_spec.size[1] / resize_spec.size[0]
    width, height = max(width, height * aspect), max(height, width / aspect)
    x, y = round((left + right - width) / 2), round((top + bottom - height) / 2)
    columns, rows = max(1, round(width)), max(1, round(height))
    crop = np.empty((rows, columns, image.shape[2]), dtype=np.uint8)
    crop[:] = resize_spec.fill_for(image.shape[2])
    inside = image[max(y, 0) : max(y + rows, 0), max(x, 0) : max(x + columns, 0)]
    down, across = max(-y, 0), max(-x, 0)
    crop[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return crop, (x, y)


def _boxes_branch(detector: VisionModel, boxes_from: str | None) -> str:
    """The branch whose boxes are taken."""
    having = [name for name in detector.branches if get_task(detector.branch(name).task).has_boxes]
    if boxes_from is not None:
        if boxes_from not in having:
            raise ConfigError(
                f"the detector has no branch '{boxes_from}' with boxes; it has: {', '.join(having) or 'none'}"
            )
        return boxes_from
    if len(having) != 1:
        raise ConfigError(
            f"say whose boxes are taken: boxes_from=... (branches of the detector with boxes: {', '.join(having) or 'none'})"
        )
    return having[0]


def _check_second(detector: VisionModel | None, model: VisionModel) -> None:
    for name in model.branches:
        task = model.branch(name).task
        if get_task(task).merge_crops is None:
            fitting = ", ".join(sorted(name for name, each in all_tasks().items() if each.merge_crops is not None))
            raise ConfigError(f"branch '{name}' of the second model is for {task}; a cascade gathers {fitting}")
        if detector is not None and name in detector.branches:
            raise ConfigError(f"both models have a branch '{name}'; build one of them with another name")


def _merge(branch: Branch, predictions: Sequence[Any], corners: np.ndarray, found: _Found, threshold: float) -> Any:
    """The prediction of an image from a branch's predictions on its crops; `_check_second` has checked the task."""
    task = get_task(branch.task)
    assert task.merge_crops is not None
    height, width = found.image.shape[:2]
    one_object = task.describes_whole_image(branch.decoder.needs is not None)
    crops = Crops(found.boxes, found.scores, corners, (height, width), found.source, threshold, one_object)
    return task.merge_crops(predictions, crops, branch.labels)


def _chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    waiting: list[Any] = []
    for value in values:
        waiting.append(value)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
