"""A task: its types, predictions and metrics, and all that the rest of the package needs to know about it.

No other file checks a task's name. A task of another package is a `Task` behind an entry point of the group
``vertebra.tasks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vertebra.tasks.base import LabelSpec
from vertebra.tasks.data import TaskData
from vertebra.tasks.mixing import Mixing
from vertebra.tasks.prediction import Prediction
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tasks.tv_tensors import TVTensors

if TYPE_CHECKING:
    import numpy as np

    from vertebra.preprocess.image_transform import ImageTransform
    from vertebra.preprocess.tiles import Grid, Tile
    from vertebra.preprocess.view_transform import ViewTransform
    from vertebra.tasks.crops import Crops
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric
    from vertebra.tasks.object_scores import Confidences, ObjectScores
    from vertebra.tasks.picture import ImageLike


class TTAMerger(Protocol):
    """Merges the decoded arrays of several views of one image, or of a tile of one (test-time augmentation)."""

    def __init__(self, labels: Any, whole: bool) -> None:
        """For one image.

        Args:
            labels: the task's label specification.
            whole: whether the branch predicts one object or class set for the whole image.
        """

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view.

        Args:
            decoded: its decoded arrays, as ``Task.from_decoded`` takes them, in the pixels of its canvas.
            view_transform: the position of the image on that canvas.
        """

    def finish(self) -> list[np.ndarray]:
        """The merged arrays, in the pixels of the plain canvas."""


class TileMerger(Protocol):
    """Merges the predictions on the tiles of one image.

    Attributes:
        adds_whole_image: whether the downscaled whole image is added after the tiles.
    """

    adds_whole_image: ClassVar[bool]

    def __init__(self, labels: Any, grid: Grid, threshold: ScoreThreshold | None) -> None:
        """For one image.

        Args:
            labels: the task's label specification.
            grid: the tiles of the image.
            threshold: objects below this score, or that of their class, are left out; see `Prediction.choose_threshold`.
        """

    def add(self, decoded: Sequence[np.ndarray], transform: ImageTransform, tile: Tile) -> None:
        """Adds one tile; tiles come in the grid's order.

        Args:
            decoded: the tile's decoded arrays, as ``Task.from_decoded`` takes them.
            transform: the position of the tile on the canvas.
            tile: its position in the image.
        """

    def finish(self, image: ImageLike | None) -> Prediction:
        """The prediction, after all tiles were added."""


@dataclass(frozen=True)
class Task:
    """One task. Nothing here loads torch before ``metric`` is called.

    Attributes:
        name: its name in configs ("detect").
        labels: the class of its label specification.
        annotation: the class of the annotation of one image.
        prediction: the class of the prediction of one image.
        monitor: the metric that selects the best weights, unless the user names another.
        from_decoded: returns the prediction of one image from its decoded arrays in their order, its transform to the canvas,
            the label specification and the image (or None); numpy only.
        similarity: returns the similarity, 0 to 1, of two predictions of one image, the second by lower precision.
        to_image: returns the task's decoded outputs in the images' own pixels, from these outputs as tensors, a
            `vertebra.preprocess.image_transform_torch.ImageTransforms` and the images' (height, width).
        metric: returns a new metric (a ``torchmetrics.Metric``) for a label specification.
        data: the operations on its annotations, from a data set to a batch.
        tta_merger: merges several views of one image, mirrored or at another scale (test-time augmentation).
        default_parts: neck and decoder, by kind, of a model whose config names only the task.
        tile_merger: merges the predictions on tiles; None for a task that predicts for the whole image only.
        from_decoded_with_probabilities: like ``from_decoded``, but the prediction also keeps its ``probabilities``, which take much
            memory; None for a task whose predictions hold all scores anyway.
        class_map: like ``to_image``, but returns one map (N, H, W) of class ids; None for a task without classes of pixels.
        has_boxes: whether predictions have ``boxes`` and ``scores`` of objects, which another branch or model can read.
        one_object: whether a decoder that reads no boxes predicts the one object that fills the image.
        of_boxes: whether predictions are attributes of the boxes of another branch, of any class: its own classes are values.
        on_boxes: the task of a branch that names this one and reads boxes; None if that is this task itself.
        coco_results: whether predictions have ``to_coco``, the entries of a COCO results file.
        merge_crops: merges predictions on crops of an image, see `vertebra.tasks.crops`; None for a task that cannot run on
            crops.
        mask_colors: returns the RGB color of each class in mask files, for a label specification; None for a task without
            masks of class ids.
        mixing: how the annotations of several images become those of one training image; None for a task without such
            operations.
        threshold_in_decoding: whether ``from_decoded`` takes the keyword ``threshold``, since it decides pixels by it.
        temper: returns decoded outputs whose scores are rescaled by a temperature, from these outputs as tensors, the label
            specification and the temperature, see `vertebra.tasks.temperature`; None for a task whose scores are no
            probabilities.
        object_scores: returns the scores that decide about the objects of an image, from its prediction with all scores and its
            annotation; None for a task without such thresholds.
        confidences: returns predicted probabilities with what is right, from the same, with probabilities where predictions can
            keep them; not None for a task with ``temper``.
        tv_tensors: how annotations pass through a transform of torchvision; None for a task whose annotations have no position.
        diagnoser: returns a new `vertebra.tasks.diagnosis.Diagnoser` for a label specification; None for a task without one.
        boxes_from: the task whose default decoder gives the boxes where a config has one branch of this task and names none; None
            for a task whose decoders work without boxes.
        more_metrics: metrics that are shown beside ``monitor`` where there is room for a few.
    """

    name: str
    labels: type[LabelSpec]
    annotation: type[Any]
    prediction: type[Prediction]
    monitor: str
    from_decoded: Callable[[Sequence[np.ndarray], Any, Any, Any], Prediction]
    similarity: Callable[[Any, Any], float]
    to_image: Callable[[Any, Any, Any], Any]
    metric: Callable[[Any], TaskMetric]
    data: TaskData
    tta_merger: type[TTAMerger]
    default_parts: Mapping[str, str]
    tile_merger: type[TileMerger] | None = None
    from_decoded_with_probabilities: Callable[[Sequence[np.ndarray], Any, Any, Any], Prediction] | None = None
    class_map: Callable[[Any, Any, Any], Any] | None = None
    has_boxes: bool = False
    one_object: bool = False
    of_boxes: bool = False
    on_boxes: str | None = None
    coco_results: bool = False
    merge_crops: Callable[[Sequence[Any], Crops, Any], Any] | None = None
    mask_colors: Callable[[Any], list[tuple[int, int, int]]] | None = None
    mixing: Mixing | None = None
    tv_tensors: TVTensors | None = None
    threshold_in_decoding: bool = False
    temper: Callable[[Any, Any, float], Any] | None = None
    object_scores: Callable[[Any, Any], ObjectScores] | None = None
    confidences: Callable[[Any, Any], Confidences] | None = None
    diagnoser: Callable[[Any], Diagnoser] | None = None
    boxes_from: str | None = None
    more_metrics: tuple[str, ...] = ()

    @property
    def headline(self) -> tuple[str, ...]:
        """The metrics that are shown where there is room for a few: ``monitor`` and ``more_metrics``."""
        return (self.monitor, *self.more_metrics)

    @property
    def image_level(self) -> bool:
        """Whether annotations and predictions describe the whole image, as a class does; a crop of the image keeps them."""
        return self.data.whole_image

    def predict_from(
        self, probabilities: bool, threshold: ScoreThreshold | None = None
    ) -> Callable[[Sequence[np.ndarray], Any, Any, Any], Prediction]:
        """``from_decoded``, or the function that also keeps probabilities, where the task has it, with a minimum score.

        Args:
            probabilities: whether they are kept.
            threshold: see `Prediction.choose_threshold`; None for all objects.
        """
        with_probabilities = self.from_decoded_with_probabilities if probabilities else None
        predict: Callable[..., Prediction] = with_probabilities or self.from_decoded
        if threshold is None:
            return predict
        if self.threshold_in_decoding:
            return partial(predict, threshold=threshold)
        return lambda *arguments: predict(*arguments).apply_threshold(threshold)

    def describes_whole_image(self, reads_boxes: bool) -> bool:
        """Whether a branch of this task predicts one object or class set for the whole image.

        Args:
            reads_boxes: whether its decoder reads the boxes of another branch.
        """
        return self.image_level or (self.one_object and not reads_boxes)
