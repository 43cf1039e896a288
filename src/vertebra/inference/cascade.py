"""Cascade of two models: the boxes of the first are cropped, and the second predicts on each crop."""

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
from vertebra.keywords import check_fraction, strict_keywords
from vertebra.model import Branch, VisionModel, check_model
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import all_tasks, get_task
from vertebra.tasks.crops import Crops
from vertebra.tasks.thresholds import OBJECT_THRESHOLD

if TYPE_CHECKING:
    from vertebra.tasks.picture import ImageLike


@dataclass(frozen=True, eq=False)
class _DetectedImage:
    """The boxes of one image.

    Attributes:
        image: (H, W, C) uint8.
        boxes: (M, 4) xyxy in its pixels.
        scores: (M,).
        result: of the first model; without predictions if the user passed the boxes.
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
    """Runs a second model on each box that the first one detects.

    Each box is cropped from the *image* with a margin, at the second model's aspect ratio (without stretching; pixels outside the
    image are filled), so that small objects get the second model's full resolution. This runs the second backbone once per box; a
    branch with ``boxes_from: boxes`` instead shares one backbone run among all boxes of an image.

    The second model may classify, detect, or predict keypoints (of one object that fills the image). All results are in the
    original image's pixels: keypoints have the first model's boxes, and the product of both models' scores.

    Args:
        detector: predicts the boxes; None if they are passed to `predict`.
        model: predicts on each box. The names of its branches must differ from the detector's.
        boxes_from: the detector's branch with the boxes; None if it has one branch with boxes.
        margin: the factor by which a box is enlarged before cropping.
        threshold: minimum score of objects, for both models, of keypoints that of the product. By default each model's stored
            scores by class, those of the second model for its scores on a crop, as for a whole image; and 0.3 without them.
        device: "cpu", "cuda", "mps" …; by default the best available.
        batch_size: images, or crops, in a batch.

    Raises:
        ConfigError: a branch is missing or named twice, a task is not supported, or the margin is below 1.
    """

    @strict_keywords
    def __init__(
        self,
        detector: VisionModel | None,
        model: VisionModel,
        *,
        boxes_from: str | None = None,
        margin: float = 1.25,
        threshold: float | None = None,
        device: str | torch.device | None = None,
        batch_size: int = 8,
    ) -> None:
        for part in (model,) if detector is None else (detector, model):
            check_model("Cascade", part)
        if margin < 1:
            raise ConfigError(f"'margin' must be 1 or more, got {margin}")
        if threshold is not None:
            check_fraction("threshold", threshold)
        self.boxes_from = None if detector is None else _boxes_branch(detector, boxes_from)
        _check_second(detector, model)
        options: dict[str, Any] = {"device": device, "batch_size": batch_size}
        self.first = None if detector is None else Predictor(detector, threshold=threshold, **options)
        self.second = Predictor(model, threshold=0.0 if threshold is not None else None, **options)
        self.margin, self.threshold = margin, threshold

    def predict(self, images: Any, boxes: Sequence[Any] | None = None) -> list[Result]:
        """Predictions of both models for one image, a folder, or several images.

        Args:
            images: see `vertebra.inference.predictor.Predictor.predict`.
            boxes: (M, 4) for each image, xyxy in the image's pixels, instead of the detector's.

        Raises:
            DataError: an image is missing or unreadable, or the boxes do not match the images.
            ConfigError: there is no detector and ``boxes`` is None.
        """
        listed = finite_sources(images)
        if boxes is None:
            return list(self.stream(listed))
        if len(boxes) != len(listed):
            raise DataError(f"there are boxes for {len(boxes)} images, but {len(listed)} images")
        return [
            result
            for chunk in _chunks(list(zip(listed, boxes, strict=True)), self.second.batch_size)
            for result in self._predict_crops([self._with_boxes(*pair) for pair in chunk])
        ]

    def stream(self, images: Any) -> Iterator[Result]:
        """Yields predictions one by one, for any number of images; see `predict`."""
        if self.first is None:
            raise ConfigError("this cascade has no detector; pass the boxes: predict(images, boxes=...)")
        for live, run in runs(images):
            for chunk in _chunks(run, 1 if live else self.first.batch_size):
                chunk = [source.loaded() if isinstance(source, ImageUrl) else source for source in chunk]
                detected = zip(chunk, self.first.predict(chunk), strict=True)
                yield from self._predict_crops([self._detected(source, result) for source, result in detected])

    def _read(self, source: Any) -> np.ndarray:
        channels: Any = self.second.model.backbone.in_channels
        read = read_source(source, channels, self.second.model.resize_spec.scale)
        if isinstance(read, Unreadable):
            raise read.error
        return read[1]

    def _detected(self, source: Any, result: Result) -> _DetectedImage:
        prediction = result[str(self.boxes_from)]
        return _DetectedImage(self._read(source), prediction.boxes, prediction.scores, result)

    def _with_boxes(self, source: Any, boxes: Any) -> _DetectedImage:
        array = np.asarray(boxes, dtype=np.float32).reshape(-1, 4) if np.size(boxes) == 0 else np.asarray(boxes)
        if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
            raise DataError(f"the boxes of an image must be (M, 4) finite numbers, got shape {array.shape}")
        image = self._read(source)
        path = Path(source) if isinstance(source, str | Path) else None
        ones = np.ones(len(array), dtype=np.float32)
        return _DetectedImage(image, array.astype(np.float32), ones, Result({}, path, (image.shape[0], image.shape[1])))

    def _threshold(self, branch: str) -> float | None:
        """The minimum score of the merged objects of a branch; None where the thresholds of the second model were applied."""
        if self.threshold is None:
            return None if self.second.model.thresholds.get(branch) else OBJECT_THRESHOLD
        return self.threshold

    def _predict_crops(self, detected: Sequence[_DetectedImage]) -> list[Result]:
        """Runs the second model on all boxes of a batch of images."""
        model = self.second.model
        crops = [
            [crop_box(image_boxes.image, box, self.margin, model.resize_spec) for box in image_boxes.boxes]
            for image_boxes in detected
        ]
        predictions = iter(self.second.predict([crop for image_crops in crops for crop, _ in image_crops]))
        results = []
        for image_boxes, image_crops in zip(detected, crops, strict=True):
            crop_predictions = [next(predictions) for _ in image_crops]
            corners = np.array([corner for _, corner in image_crops], dtype=np.float64).reshape(-1, 2)
            merged = {
                name: _merge(
                    model.branch(name),
                    [crop_prediction[name] for crop_prediction in crop_predictions],
                    corners,
                    image_boxes,
                    self._threshold(name),
                )
                for name in model.branches
            }
            first = image_boxes.result
            results.append(Result({**first, **merged}, first.path, first.size, first.frame_info))
        return results


def crop_box(
    image: np.ndarray, box: np.ndarray, margin: float, resize_spec: ResizeSpec
) -> tuple[np.ndarray, tuple[int, int]]:
    """Crops a box with its surroundings from an image, at the aspect ratio of a canvas.

    Args:
        image: (H, W, C) uint8.
        box: (4,) xyxy in its pixels.
        margin: the factor by which the box is enlarged, before it is extended along one axis to the canvas' aspect ratio.
        resize_spec: of the second model.

    Returns:
        The crop (h, w, C) uint8 in the image's resolution, with the fill of ``resize_spec`` outside the image; and the (x, y) of
        its top left corner in the image's pixels.
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
    row_offset, column_offset = max(-y, 0), max(-x, 0)
    crop[row_offset : row_offset + inside.shape[0], column_offset : column_offset + inside.shape[1]] = inside
    return crop, (x, y)


def _boxes_branch(detector: VisionModel, boxes_from: str | None) -> str:
    """The detector's branch with the boxes."""
    branches_with_boxes = [name for name in detector.branches if get_task(detector.branch(name).task).has_boxes]
    if boxes_from is not None:
        if boxes_from not in branches_with_boxes:
            raise ConfigError(
                f"the detector has no branch '{boxes_from}' with boxes; it has: {', '.join(branches_with_boxes) or 'none'}"
            )
        return boxes_from
    if len(branches_with_boxes) != 1:
        raise ConfigError(
            "choose the branch with the boxes: boxes_from=... (branches of the detector with boxes: "
            f"{', '.join(branches_with_boxes) or 'none'})"
        )
    return branches_with_boxes[0]


def _check_second(detector: VisionModel | None, model: VisionModel) -> None:
    for name in model.branches:
        task = model.branch(name).task
        if get_task(task).merge_crops is None:
            supported = ", ".join(
                sorted(name for name, candidate in all_tasks().items() if candidate.merge_crops is not None)
            )
            raise ConfigError(f"branch '{name}' of the second model is for {task}; a cascade supports {supported}")
        if detector is not None and name in detector.branches:
            raise ConfigError(f"both models have a branch '{name}'; build one of them with another name")


def _merge(
    branch: Branch, predictions: Sequence[Any], corners: np.ndarray, detected: _DetectedImage, threshold: float | None
) -> Any:
    """The prediction of an image from a branch's predictions on its crops; `_check_second` has checked the task."""
    task = get_task(branch.task)
    assert task.merge_crops is not None
    height, width = detected.image.shape[:2]
    one_object = task.describes_whole_image(branch.decoder.needs is not None)
    crops = Crops(detected.boxes, detected.scores, corners, (height, width), detected.source, threshold, one_object)
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
