"""Two models in a row: the first one's boxes are cut out of the image, and the second one looks at each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vertebra.errors import ConfigError, DataError
from vertebra.inference.io.inputs import check_ends, runs
from vertebra.inference.io.video import VideoFrame
from vertebra.inference.predictor import Predictor
from vertebra.inference.results import Result, list_images
from vertebra.model import Branch, VisionModel
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import read_image
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.keypoints.types import KeypointPrediction

if TYPE_CHECKING:
    from PIL import Image

    from vertebra.tasks.picture import ImageLike

WITH_BOXES = ("detect", "keypoints")


@dataclass(frozen=True, eq=False)
class BoxedPredictions(Sequence[ClassifyPrediction]):
    """What a classifier says of each box of an image, in the boxes' order.

    Attributes:
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        predictions: one for each box.
        image: what was predicted on, for `draw`; None where it is not known.
    """

    boxes: np.ndarray
    predictions: tuple[ClassifyPrediction, ...]
    image: ImageLike | None = None

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.predictions)

    def __getitem__(self, index: Any) -> Any:
        return self.predictions[index]

    def draw(self, image: ImageLike | None = None) -> Image.Image:
        """The image with its boxes, each with the likeliest class (the likely ones, where classes may overlap).

        Raises:
            DataError: there is no image, or it cannot be read.
        """
        answers = [_answer(prediction) for prediction in self.predictions]
        names = list(dict.fromkeys(name for name, _ in answers)) or ["-"]
        shown = DetectPrediction(
            self.boxes,
            np.array([score for _, score in answers], dtype=np.float32),
            np.array([names.index(name) for name, _ in answers], dtype=np.int64),
            DetectLabels(tuple(names)),
            self.image,
            shown_from=0.0,
        )
        return shown.draw(image)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``objects``, each with ``box`` (xyxy, original pixels) and what was said of it."""
        pairs = zip(self.boxes.tolist(), self.predictions, strict=True)
        return {"task": "classify", "objects": [{"box": box, **prediction.to_dict()} for box, prediction in pairs]}


def _answer(prediction: ClassifyPrediction) -> tuple[str, float]:
    """A classifier's answer in words, and how sure it is."""
    name, probability = prediction.top(1)[0]
    if prediction.labels.exclusive:
        return name, probability
    likely = [own for own, part in prediction.top(prediction.labels.class_count) if part >= 0.5]
    return ", ".join(likely) or "-", probability


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
        listed = list_images(images)
        check_ends(listed)
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
                found = zip(chunk, self.first.predict(chunk), strict=True)
                yield from self._look([self._detected(source, result) for source, result in found])

    def _read(self, source: Any) -> np.ndarray:
        source = source.pixels if isinstance(source, VideoFrame) else source
        return read_image(source, channels=self.second.model.backbone.in_channels)  # type: ignore[arg-type]

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
            gathered = {}
            for name in model.branches:
                branch = model.branch(name)
                gathered[name] = GATHER[branch.task]([part[name] for part in parts], corners, own, branch)
                if branch.task in WITH_BOXES:
                    gathered[name] = gathered[name].above(self.threshold)
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
    having = [name for name in detector.branches if detector.branch(name).task in WITH_BOXES]
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
        if task not in GATHER:
            raise ConfigError(
                f"branch '{name}' of the second model is for {task}; a cascade gathers {', '.join(sorted(GATHER))}"
            )
        if detector is not None and name in detector.branches:
            raise ConfigError(f"both models have a branch '{name}'; build one of them with another name")


def _chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    waiting: list[Any] = []
    for value in values:
        waiting.append(value)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _gather_classes(
    parts: Sequence[ClassifyPrediction], corners: np.ndarray, found: _Found, branch: Branch
) -> BoxedPredictions:
    return BoxedPredictions(found.boxes, tuple(parts), found.source)


def _gather_boxes(
    parts: Sequence[DetectPrediction], corners: np.ndarray, found: _Found, branch: Branch
) -> DetectPrediction:
    """All objects in all boxes, best first, cut to the image."""
    height, width = found.image.shape[:2]
    owner = _owners(parts)
    boxes = _joined([part.boxes for part in parts], (4,)) + np.tile(corners, 2)[owner]
    boxes = boxes.clip(0, [width, height, width, height]).astype(np.float32)
    scores, ids = _joined([part.scores for part in parts]), _joined([part.labels for part in parts])
    order = np.argsort(-scores, kind="stable")
    order = order[(boxes[order, 2] > boxes[order, 0]) & (boxes[order, 3] > boxes[order, 1])]
    labels: Any = branch.labels
    return DetectPrediction(
        boxes[order], scores[order].astype(np.float32), ids[order].astype(np.int64), labels, found.source
    )


def _gather_points(
    parts: Sequence[KeypointPrediction], corners: np.ndarray, found: _Found, branch: Branch
) -> KeypointPrediction:
    """The points of all objects, best first. Where each box shows one object, its box is the first model's."""
    labels: Any = branch.labels
    owner = _owners(parts)
    if branch.decoder.needs is None:
        boxes = found.boxes[owner]
    else:
        boxes = _joined([part.boxes for part in parts], (4,)) + np.tile(corners, 2)[owner]
    count = len(labels.points)
    points = _joined([part.points for part in parts], (count, 2)) + corners[owner][:, None]
    scores = _joined([part.scores for part in parts]) * found.scores[owner]
    order = np.argsort(-scores, kind="stable")
    return KeypointPrediction(
        points=points[order].astype(np.float32),
        point_scores=_joined([part.point_scores for part in parts], (count,))[order].astype(np.float32),
        boxes=boxes[order].astype(np.float32),
        scores=scores[order].astype(np.float32),
        labels=_joined([part.labels for part in parts])[order].astype(np.int64),
        spec=labels,
        image=found.source,
    )


def _owners(parts: Sequence[Any]) -> np.ndarray:
    """For each object of all parts, the number of its part."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _joined(arrays: Sequence[np.ndarray], rest: tuple[int, ...] = ()) -> np.ndarray:
    """Arrays (m, *rest) one after the other; there may be none."""
    return np.concatenate([np.zeros((0, *rest)), *arrays])


GATHER: dict[str, Callable[..., Any]] = {
    "classify": _gather_classes,
    "detect": _gather_boxes,
    "keypoints": _gather_points,
}
