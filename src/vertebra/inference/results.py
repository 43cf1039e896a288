"""The results of prediction; without torch."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from vertebra.errors import DataError, MissingFieldError, UnknownName
from vertebra.inference.io.video import FrameInfo
from vertebra.keywords import strict_keywords

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PillowImage

    from vertebra.panoptic.types import PanopticPrediction
    from vertebra.tasks.picture import ImageLike
    from vertebra.tasks.prediction import ClassChoice, Prediction


class Result:
    """The predictions for one image or video frame: ``result["boxes"]`` is that of branch "boxes".

    A result with one branch has the fields and methods of its prediction: ``result.boxes``, ``result.filter(min_score=0.5)``,
    ``len(result)``, ``result[0]``, iteration over objects. With several branches these raise a `MissingFieldError` that names the
    branches; `keys`, `values`, `items` and ``in`` refer to branches in any case.

    Branches that predict attributes of another branch's boxes do not count: each box has its attributes,
    ``result[0].attributes["color"].value``. ``result["color"]`` returns those of all boxes.

    Attributes:
        path: the file of the image or video; None for an array or a camera.
        size: (height, width) of the image in pixels.
        frame_info: source, number and time of a frame; None for an image.
        address: of an image from the network; None for other images.
    """

    def __init__(
        self,
        predictions: Mapping[str, Prediction],
        path: Path | None,
        size: tuple[int, int],
        frame_info: FrameInfo | None = None,
        address: str | None = None,
    ) -> None:
        self._predictions = {name: each for name, each in predictions.items() if not each.attached}
        self._attributes = {name: each for name, each in predictions.items() if each.attached}
        self.path = path
        self.size = size
        self.frame_info = frame_info
        self.address = address

    @property
    def frame(self) -> int | None:
        """The frame's number in its video, from 0; None for an image."""
        return None if self.frame_info is None else self.frame_info.frame

    @property
    def time(self) -> float | None:
        """Time of the frame in seconds from the video's start; None for an image or an unknown time."""
        return None if self.frame_info is None else self.frame_info.time

    @property
    def source(self) -> Path | str | None:
        """The file of the image or video, its address, or a camera's name; None for an array."""
        if self.frame_info is not None:
            return self.frame_info.source
        return self.path if self.address is None else self.address

    def keys(self) -> KeysView[str]:
        """The branches' names."""
        return self._predictions.keys()

    def values(self) -> ValuesView[Prediction]:
        """The branches' predictions."""
        return self._predictions.values()

    def items(self) -> ItemsView[str, Prediction]:
        """The branches' names with their predictions."""
        return self._predictions.items()

    def __contains__(self, branch: object) -> bool:
        return branch in self._predictions or branch in self._attributes

    @property
    def prediction(self) -> Prediction:
        """The prediction of the only branch.

        Raises:
            MissingFieldError: there are several branches, or none.
        """
        return self._only()

    def _only(self) -> Prediction:
        if len(self._predictions) == 1:
            return next(iter(self._predictions.values()))
        if not self._predictions:
            raise MissingFieldError("this result has no prediction")
        choices = " or ".join(f"result[{name!r}]" for name in self._predictions)
        raise MissingFieldError(f"this result has {len(self._predictions)} branches; take one of them: {choices}")

    @overload
    def __getitem__(self, index: str) -> Any: ...
    @overload
    def __getitem__(self, index: int | slice | Sequence[int] | Sequence[bool] | np.ndarray) -> Prediction: ...
    def __getitem__(self, index: Any) -> Any:
        """The prediction of a branch by its name; by any other index, objects of the only branch.

        Raises:
            UnknownName: there is no such branch.
        """
        if not isinstance(index, str):
            return self._only()[index]
        known = self._predictions | self._attributes
        if index not in known:
            raise UnknownName("branch of this result", index, known)
        return known[index]

    @cached_property
    def panoptic(self) -> PanopticPrediction:
        """The segments of the image, each pixel of one at most, fused from the only branch of instances and the only one of
        exclusive classes of pixels; see `fuse_panoptic`.

        Raises:
            ConfigError: there are no such branches, or several of them.
        """
        return self.fuse_panoptic()

    @strict_keywords
    def fuse_panoptic(
        self,
        *,
        instances: str | None = None,
        segment: str | None = None,
        max_overlap: float = 0.5,
        min_stuff_share: float = 4096 / (640 * 480),
    ) -> PanopticPrediction:
        """The segments of the image by the rule of Panoptic FPN; see `vertebra.panoptic.panoptic_fpn`.

        Objects take part by descending score if they reach the predictor's threshold, and keep the pixels that no better one has.
        Classes are matched by name: those of the instances are things, further classes of pixels are stuff.

        Args:
            instances, segment: the branches, if there are several of these tasks.
            max_overlap: an object of which a larger share is covered by better ones is dropped.
            min_stuff_share: stuff on a smaller share of the image is dropped.

        Raises:
            ConfigError: a named branch does not exist, several branches fit and none is named, the classes of pixels may overlap,
                or a share is not within 0 and 1.
        """
        from vertebra.panoptic.branches import fused
        from vertebra.panoptic.panoptic_fpn import FusionRule

        return fused(self._predictions, instances, segment, FusionRule(max_overlap, min_stuff_share))

    def __len__(self) -> int:
        """Number of objects of the only branch."""
        return len(self._only())

    def __bool__(self) -> bool:
        """True, for any number of branches and objects."""
        return True

    def __iter__(self) -> Iterator[Prediction]:
        """The objects of the only branch, one by one."""
        return iter(self._only())

    @property
    def boxes(self) -> np.ndarray:
        """(M, 4) float32, xyxy in the image's pixels. Each has its attributes, ``result.boxes[0].attributes["color"].value``."""
        prediction = self._only()
        if not prediction.attributes:
            return prediction.boxes
        from vertebra.tasks.boxes_with_attributes import BoxesWithAttributes

        return BoxesWithAttributes.of(prediction.boxes, prediction.attributes)

    @property
    def scores(self) -> np.ndarray:
        """(M,) float32 in 0..1."""
        return self._only().scores

    @property
    def class_ids(self) -> np.ndarray:
        """(M,) int64."""
        return self._only().class_ids

    @property
    def class_names(self) -> list[str]:
        """The class name of each object."""
        return self._only().class_names

    @property
    def masks(self) -> np.ndarray:
        """(M, H, W) bool, of the image's size."""
        return self._only().masks

    @property
    def points(self) -> np.ndarray:
        """(M, K, 2) float32 of x, y in the image's pixels."""
        return self._only().points

    @strict_keywords
    def filter(self, *, min_score: float | None = None, classes: ClassChoice | None = None) -> Prediction:
        """The prediction of the only branch with fewer objects; see `vertebra.tasks.prediction.Prediction.filter`."""
        return self._only().filter(min_score=min_score, classes=classes)

    def with_predictions(self, predictions: Mapping[str, Prediction]) -> Result:
        """The result of the same image with other predictions of its branches; attributes are those of their boxes then."""
        attributes = {
            name: predictions[branch].attributes[key]
            for name, each in self._attributes.items()
            for branch, prediction in self.items()
            for key, value in prediction.attributes.items()
            if value is each and branch in predictions
        }
        return Result({**predictions, **attributes}, self.path, self.size, self.frame_info, self.address)

    def draw(self, image: ImageLike | None = None) -> PillowImage:
        """The image with the objects of the only branch; see `vertebra.tasks.prediction.Prediction.draw`."""
        return self._only().draw(image)

    def to_coco(self, image_id: int | str, category_ids: Sequence[int | None] | None = None) -> list[dict[str, Any]]:
        """COCO results of the only branch; see `vertebra.tasks.prediction.Prediction.to_coco`."""
        return self._only().to_coco(image_id, category_ids)

    def to_supervision(self) -> Any:
        """The only branch's prediction in supervision's type; see `vertebra.tasks.prediction.Prediction.to_supervision`."""
        return self._only().to_supervision()

    def __getattr__(self, name: str) -> Any:
        """Fields that only some tasks have, of the only branch: ``probabilities``, ``mask``, ``point_scores``, ``top`` …"""
        if name.startswith("_"):  # pickle and copy read these before __init__ has run
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return getattr(self._only(), name)

    def __repr__(self) -> str:
        """The image, its size, and the text of each branch's prediction."""
        height, width = self.size
        source = "image" if self.source is None else str(self.source)
        frame = "" if self.frame is None else f" frame {self.frame}"
        content = "; ".join(f"{name}: {prediction!r}" for name, prediction in self.items()) or "no prediction"
        return f"<{source}{frame}, {width}x{height}; {content}>"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; for a frame, also its number and time. Numbers that are not finite are kept; the command line writes them as
        null and counts them."""
        return {
            "image": None if self.source is None else str(self.source),
            **({} if self.frame_info is None else {"frame": self.frame, "time": self.time}),
            "height": self.size[0],
            "width": self.size[1],
            **{name: prediction.to_dict() for name, prediction in self.items()},
        }


def join_attributes(predictions: dict[str, Prediction], attributes: Mapping[str, str]) -> dict[str, Prediction]:
    """The predictions of an image, in which boxes have their attributes.

    Args:
        predictions: by branch.
        attributes: the branches that predict attributes of boxes, and the branch that has the boxes of each.
    """
    if not attributes:
        return predictions
    joined = dict(predictions)
    for name, source in attributes.items():
        boxes = joined[source]
        values = joined[name] = _of_boxes(joined[name], boxes.boxes)
        joined[source] = replace(boxes, attributes={**boxes.attributes, values.spec.attribute or name: values})
    return joined


def _of_boxes(values: Any, boxes: np.ndarray) -> Any:
    """The rows of attributes for these boxes (M, 4), which are some of theirs: a prediction of boxes may leave out those that lie
    outside of the image."""
    if len(values) == len(boxes):
        return values
    rows = {box.tobytes(): row for row, box in enumerate(values.boxes)}
    return values[[rows[box.tobytes()] for box in boxes]]


class Skipped(NamedTuple):
    """An image or video that was left out.

    Attributes:
        source: its file, a camera's name, or a description of the object.
        reason: the error message, which includes the source.
    """

    source: str
    reason: str


class Unreadable(NamedTuple):
    """Replaces an image or video that cannot be read; see `Skipped`."""

    source: str
    error: DataError
